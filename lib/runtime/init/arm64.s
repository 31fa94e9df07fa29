	.arch armv8-a
	.file	"init.c"
	.text
#APP
	.globl _start
_start:
	mov x0, sp
	bl start

#NO_APP
	.align	2
	.type	call, %function
call:
.LFB0:
	.cfi_startproc
	mov	x8, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	mov	x3, x4
	mov	x4, 0
#APP
// 29 "init.c" 1
	svc #0
// 0 "" 2
#NO_APP
	ret
	.cfi_endproc
.LFE0:
	.size	call, .-call
	.align	2
	.type	say, %function
say:
.LFB2:
	.cfi_startproc
	mov	x2, x0
	mov	x3, 0
.L3:
	ldrb	w0, [x2, x3]
	cbnz	w0, .L4
	mov	x4, 0
	mov	x1, 2
	mov	x0, 64
	b	call
.L4:
	add	x3, x3, 1
	b	.L3
	.cfi_endproc
.LFE2:
	.size	say, .-say
	.section	.rodata.str1.1,"aMS",@progbits,1
.LC0:
	.string	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	.text
	.align	2
	.type	run, %function
run:
.LFB3:
	.cfi_startproc
	mov	x7, x1
	mov	x12, 4112
	ldr	x1, [x0]
	sub	sp, sp, x12
	.cfi_def_cfa_offset 4112
	mov	x6, x0
	mov	x0, x1
	str	x30, [sp]
	.cfi_offset 30, -4112
.L6:
	ldrb	w2, [x0]
	cbnz	w2, .L8
	adrp	x5, .LC0
	mov	x0, x7
	add	x5, x5, :lo12:.LC0
.L9:
	ldr	x4, [x0]
	cbnz	x4, .L11
	add	x9, sp, 16
	mov	w10, 0
	mov	w11, 47
	mov	w12, 1
.L12:
	ldrb	w0, [x5]
	cbnz	w0, .L27
	mov	w0, 127
	sub	w0, w0, w10
.L5:
	ldr	x30, [sp]
	mov	x12, 4112
	add	sp, sp, x12
	.cfi_remember_state
	.cfi_restore 30
	.cfi_def_cfa_offset 0
	ret
.L8:
	.cfi_restore_state
	cmp	w2, 47
	beq	.L7
	add	x0, x0, 1
	b	.L6
.L11:
	ldrb	w1, [x4]
	cmp	w1, 80
	bne	.L10
	ldrb	w1, [x4, 1]
	cmp	w1, 65
	bne	.L10
	ldrb	w1, [x4, 2]
	cmp	w1, 84
	bne	.L10
	ldrb	w1, [x4, 3]
	cmp	w1, 72
	bne	.L10
	ldrb	w1, [x4, 4]
	cmp	w1, 61
	bne	.L10
	add	x5, x4, 5
.L10:
	add	x0, x0, 8
	b	.L9
.L15:
	strb	w0, [x4, x9]
	add	x4, x4, 1
.L24:
	ldrb	w0, [x5, x4]
	cmp	w0, 58
	ccmp	w0, 0, 4, ne
	beq	.L14
	cmp	x4, 3000
	bne	.L15
.L14:
	add	x5, x5, x4
.L16:
	ldrb	w0, [x5]
	cmp	w0, 58
	ccmp	w0, 0, 4, ne
	bne	.L17
	cmp	w0, 58
	bne	.L18
	add	x5, x5, 1
.L18:
	ldr	x1, [x6]
	add	x0, x4, 1
	strb	w11, [x9, x4]
	mvn	x4, x4
	add	x1, x1, x4
.L19:
	ldrb	w2, [x1, x0]
	cbz	w2, .L21
	cmp	x0, 4095
	bne	.L22
.L21:
	mov	x3, x7
	mov	x2, x6
	mov	x1, x9
	mov	x4, 0
	strb	wzr, [x9, x0]
	mov	x0, 221
	bl	call
	cmn	x0, #2
	ccmn	x0, #20, 4, ne
	csel	w10, w10, w12, eq
	b	.L12
.L27:
	mov	x4, 0
	b	.L24
.L17:
	add	x5, x5, 1
	b	.L16
.L22:
	strb	w2, [x9, x0]
	add	x0, x0, 1
	b	.L19
.L7:
	mov	x3, x7
	mov	x2, x6
	mov	x4, 0
	mov	x0, 221
	bl	call
	cmn	x0, #2
	ccmn	x0, #20, 4, ne
	cset	w0, eq
	add	w0, w0, 126
	b	.L5
	.cfi_endproc
.LFE3:
	.size	run, .-run
	.section	.rodata.str1.1
.LC1:
	.string	": command not found\n"
.LC2:
	.string	": cannot be executed\n"
.LC3:
	.string	"lamina-init: "
	.text
	.align	2
	.global	start
	.type	start, %function
start:
.LFB4:
	.cfi_startproc
	mov	x5, x0
	str	x30, [sp, -48]!
	.cfi_def_cfa_offset 48
	.cfi_offset 30, -48
	mov	x14, x0
	mov	x0, -1
	stp	x0, xzr, [sp, 32]
	ldr	x0, [x5, 16]
	ldr	x6, [x14], 16
	cbz	x0, .L30
	ldrb	w1, [x0]
	cmp	w1, 45
	bne	.L30
	ldrb	w1, [x0, 1]
	cmp	w1, 45
	bne	.L30
	ldrb	w0, [x0, 2]
	cbnz	w0, .L30
	add	x14, x5, 24
.L30:
	add	x15, sp, 32
	mov	x4, 8
	mov	x2, x15
	mov	x3, 0
	mov	x1, 2
	mov	x0, 135
	bl	call
	mov	x4, 0
	mov	x3, 0
	mov	x2, 0
	mov	x1, 17
	mov	x0, 220
	bl	call
	mov	x13, x0
	cbnz	x0, .L31
	mov	x4, 0
	mov	x3, 0
	mov	x2, 0
	mov	x1, 0
	mov	x0, 172
	bl	call
	mov	x4, 0
	mov	x3, 0
	mov	x2, 0
	mov	x1, 0
	str	w0, [sp, 28]
	mov	x0, 154
	bl	call
	add	x3, sp, 28
	mov	x4, 0
	mov	x2, 21520
	mov	x1, 0
	mov	x0, 29
	bl	call
	add	x2, sp, 40
	mov	x4, 8
	mov	x3, 0
	mov	x1, 2
	mov	x0, 135
	bl	call
	add	x1, x6, 2
	mov	x0, x14
	add	x1, x5, x1, lsl 3
	bl	run
	mov	w5, w0
	adrp	x0, .LC3
	add	x0, x0, :lo12:.LC3
	bl	say
	ldr	x0, [x14]
	bl	say
	cmp	w5, 127
	adrp	x1, .LC2
	add	x1, x1, :lo12:.LC2
	adrp	x0, .LC1
	add	x0, x0, :lo12:.LC1
	csel	x0, x0, x1, eq
	bl	say
	sxtw	x1, w5
	mov	x4, 0
	mov	x3, 0
	mov	x2, 0
	mov	x0, 94
	bl	call
.L31:
	add	x5, sp, 28
.L33:
	mov	x2, 0
	mov	x1, x15
	mov	x4, 8
	mov	x3, 0
	mov	x0, 137
	bl	call
	mov	x2, x0
	cmp	x0, 17
	bne	.L48
.L36:
	mov	x2, x5
	mov	x4, 0
	mov	x3, 1
	mov	x1, -1
	mov	x0, 260
	bl	call
	cmp	x0, 0
	ble	.L33
	cmp	x13, x0
	bne	.L36
	ldr	w0, [sp, 28]
	mov	x4, 0
	mov	x3, 0
	ands	w2, w0, 127
	add	w1, w2, 128
	ubfx	x0, x0, 8, 8
	mov	x2, 0
	sxtw	x1, w1
	csel	x1, x0, x1, eq
	mov	x0, 94
	bl	call
	b	.L36
.L48:
	cmp	x0, 0
	ble	.L33
	mov	x1, x13
	mov	x4, 0
	mov	x3, 0
	mov	x0, 129
	bl	call
	b	.L33
	.cfi_endproc
.LFE4:
	.size	start, .-start
	.section	.note.GNU-stack,"",@progbits
