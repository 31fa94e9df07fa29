	.file	"init.c"
	.text
#APP
	.globl _start
_start:
	mov %rsp, %rdi
	and $-16, %rsp
	call start

#NO_APP
	.type	say, @function
say:
	movq	%rdi, %rsi
	xorl	%edx, %edx
.L2:
	cmpb	$0, (%rsi,%rdx)
	je	.L5
	incq	%rdx
	jmp	.L2
.L5:
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movl	$1, %eax
	movl	$2, %edi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	ret
	.size	say, .-say
	.section	.rodata.str1.1,"aMS",@progbits,1
.LC0:
	.string	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	.text
	.type	run, @function
run:
	pushq	%r14
	movq	%rsi, %rdx
	pushq	%r13
	pushq	%r12
	pushq	%rbp
	pushq	%rbx
	movq	%rdi, %rbx
	subq	$3976, %rsp
	movq	(%rdi), %rdi
	movq	%rdi, %rax
.L7:
	movb	(%rax), %cl
	testb	%cl, %cl
	je	.L47
	cmpb	$47, %cl
	je	.L8
	incq	%rax
	jmp	.L7
.L47:
	movq	%rdx, %rcx
	leaq	.LC0(%rip), %r9
.L10:
	movq	(%rcx), %rax
	testq	%rax, %rax
	je	.L48
	cmpb	$80, (%rax)
	jne	.L11
	cmpb	$65, 1(%rax)
	jne	.L11
	cmpb	$84, 2(%rax)
	jne	.L11
	cmpb	$72, 3(%rax)
	jne	.L11
	cmpb	$61, 4(%rax)
	jne	.L11
	leaq	5(%rax), %r9
.L11:
	addq	$8, %rcx
	jmp	.L10
.L48:
	xorl	%ebp, %ebp
	leaq	-121(%rsp), %r12
	leaq	-120(%rsp), %rdi
	movl	$59, %r13d
	movl	$1, %r14d
.L13:
	cmpb	$0, (%r9)
	je	.L49
	xorl	%eax, %eax
.L25:
	movb	(%r9,%rax), %cl
	testb	%cl, %cl
	je	.L14
	cmpb	$58, %cl
	je	.L14
	cmpq	$3000, %rax
	je	.L14
	incq	%rax
	movb	%cl, (%r12,%rax)
	jmp	.L25
.L14:
	addq	%rax, %r9
.L16:
	movb	(%r9), %cl
	testb	%cl, %cl
	je	.L29
	cmpb	$58, %cl
	je	.L45
	incq	%r9
	jmp	.L16
.L29:
	cmpb	$58, %cl
	jne	.L19
.L45:
	incq	%r9
.L19:
	movq	(%rbx), %rsi
	movb	$47, -120(%rsp,%rax)
	leaq	1(%rax), %rcx
	subq	%rax, %rsi
.L20:
	movb	-1(%rsi,%rcx), %al
	testb	%al, %al
	je	.L21
	cmpq	$4095, %rcx
	je	.L21
	incq	%rcx
	movb	%al, (%r12,%rcx)
	jmp	.L20
.L21:
	movb	$0, -120(%rsp,%rcx)
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movq	%r13, %rax
	movq	%rbx, %rsi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	cmpq	$-2, %rax
	je	.L13
	cmpq	$-20, %rax
	cmovne	%r14d, %ebp
	jmp	.L13
.L49:
	movl	$127, %eax
	subl	%ebp, %eax
	jmp	.L6
.L8:
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movl	$59, %eax
	movq	%rbx, %rsi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	cmpq	$-2, %rax
	sete	%dl
	cmpq	$-20, %rax
	sete	%al
	orl	%eax, %edx
	movzbl	%dl, %eax
	addl	$126, %eax
.L6:
	addq	$3976, %rsp
	popq	%rbx
	popq	%rbp
	popq	%r12
	popq	%r13
	popq	%r14
	ret
	.size	run, .-run
	.section	.rodata.str1.1
.LC1:
	.string	": command not found\n"
.LC2:
	.string	": cannot be executed\n"
.LC3:
	.string	"lamina-init: "
	.text
	.globl	start
	.type	start, @function
start:
	pushq	%r15
	xorl	%eax, %eax
	movq	%rdi, %r9
	pushq	%r14
	pushq	%r13
	pushq	%r12
	pushq	%rbp
	pushq	%rbx
	leaq	16(%rdi), %rbx
	subq	$40, %rsp
	movq	(%rdi), %r13
	movq	%rax, 32(%rsp)
	movq	16(%rdi), %rax
	movq	$-1, 24(%rsp)
	testq	%rax, %rax
	je	.L51
	cmpb	$45, (%rax)
	jne	.L51
	cmpb	$45, 1(%rax)
	jne	.L51
	cmpb	$0, 2(%rax)
	jne	.L51
	leaq	24(%rdi), %rbx
.L51:
	leaq	24(%rsp), %rax
	movl	$14, %ebp
	xorl	%r8d, %r8d
	xorl	%edx, %edx
	movl	$2, %r12d
	movq	%rax, (%rsp)
	movl	$8, %r10d
	movq	(%rsp), %rsi
	movq	%rbp, %rax
	movq	%r12, %rdi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	xorl	%r10d, %r10d
	movl	$56, %eax
	movl	$17, %edi
	movq	%rdx, %rsi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	movq	%rax, %r14
	testq	%rax, %rax
	jne	.L52
	movl	$39, %eax
	movq	%r14, %rdi
	movq	%r14, %rsi
	movq	%r14, %rdx
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	movl	%eax, 20(%rsp)
	movl	$109, %eax
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	movl	$16, %eax
	leaq	20(%rsp), %rdx
	movl	$21520, %esi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	movl	$8, %r10d
	movq	%rbp, %rax
	movq	%r12, %rdi
	movq	%r14, %rdx
	leaq	32(%rsp), %rsi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	leaq	16(%r9,%r13,8), %rsi
	movq	%rbx, %rdi
	call	run
	leaq	.LC3(%rip), %rdi
	movl	%eax, %r9d
	call	say
	movq	(%rbx), %rdi
	call	say
	cmpl	$127, %r9d
	leaq	.LC2(%rip), %rax
	leaq	.LC1(%rip), %rdi
	cmovne	%rax, %rdi
	call	say
	movslq	%r9d, %rdi
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movl	$231, %eax
	movq	%r14, %rsi
	movq	%r14, %rdx
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
.L52:
	movl	$128, %r9d
	leaq	20(%rsp), %rbx
	movl	$61, %ebp
	orq	$-1, %r12
	movl	$1, %r13d
	movl	$62, %r15d
.L54:
	xorl	%edx, %edx
	movq	(%rsp), %rdi
	movl	$8, %r10d
	xorl	%r8d, %r8d
	movq	%r9, %rax
	movq	%rdx, %rsi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	movq	%rax, %rsi
	cmpq	$17, %rax
	jne	.L69
.L57:
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movq	%rbp, %rax
	movq	%r12, %rdi
	movq	%rbx, %rsi
	movq	%r13, %rdx
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	testq	%rax, %rax
	jle	.L54
	cmpq	%rax, %r14
	jne	.L57
	movl	20(%rsp), %eax
	movl	%eax, %edx
	movzbl	%ah, %eax
	andl	$127, %edx
	je	.L71
	leal	128(%rdx), %eax
.L71:
	xorl	%edx, %edx
	movslq	%eax, %rdi
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movl	$231, %eax
	movq	%rdx, %rsi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	jmp	.L57
.L69:
	testq	%rax, %rax
	jle	.L54
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movq	%r15, %rax
	movq	%r14, %rdi
#APP
# 15 "init.c" 1
	syscall
# 0 "" 2
#NO_APP
	jmp	.L54
	.size	start, .-start
	.section	.note.GNU-stack,"",@progbits
