# birth(clone_args *rdi, size_t rsi, step *rdx, step *end rcx) -> pid of the child or -errno, in the parent.
# The child runs the steps and never returns. It shares the parent's memory (CLONE_VM), touches no stack, and writes
# only the steps' results and where their `store` points.
# A step, 112 bytes: nr, a0..a5, store, errno1, to1, errno2, to2, flags, result (64-bit words).
	.intel_syntax noprefix
	.text
birth:
	push	rbx
	push	r12
	mov	rbx, rdx
	mov	r12, rcx
	mov	eax, 435			# clone3
	syscall
	test	rax, rax
	jz	step
	pop	r12
	pop	rbx
	ret
step:
	cmp	rbx, r12
	jae	quit
	mov	rax, [rbx]
	mov	rdi, [rbx + 8]
	mov	rsi, [rbx + 16]
	mov	rdx, [rbx + 24]
	mov	r10, [rbx + 32]
	mov	r8, [rbx + 40]
	mov	r9, [rbx + 48]
	syscall
	mov	[rbx + 104], rax
	cmp	rax, -4095
	jae	failed
	mov	rcx, [rbx + 56]
	test	rcx, rcx
	jz	stored
	mov	[rcx], rax
stored:
	test	byte ptr [rbx + 96], 2		# a fork: the parent of the two is done
	jz	next
	test	rax, rax
	jnz	done
next:
	add	rbx, 112
	jmp	step
failed:
	neg	rax
	cmp	rax, [rbx + 64]
	je	to1
	cmp	rax, [rbx + 80]
	je	to2
	test	byte ptr [rbx + 96], 1		# any error is fine
	jnz	next
quit:
	mov	edi, 127
	mov	eax, 231			# exit_group
	syscall
to1:
	mov	rbx, [rbx + 72]
	jmp	step
to2:
	mov	rbx, [rbx + 88]
	jmp	step
done:
	xor	edi, edi
	mov	eax, 231
	syscall
