// birth(clone_args *x0, size_t x1, step *x2, step *end x3) -> pid of the child or -errno, in the parent.
// The same contract and the same step as x86-64.s. A system call keeps every register but x0.
	.text
birth:
	mov	x9, x2
	mov	x10, x3
	mov	x8, #435			// clone3
	svc	#0
	cbz	x0, step
	ret
step:
	cmp	x9, x10
	b.hs	quit
	ldr	x8, [x9]
	ldp	x0, x1, [x9, #8]
	ldp	x2, x3, [x9, #24]
	ldp	x4, x5, [x9, #40]
	svc	#0
	str	x0, [x9, #104]
	cmn	x0, #4095
	b.hs	failed
	ldr	x11, [x9, #56]
	cbz	x11, stored
	str	x0, [x11]
stored:
	ldr	x12, [x9, #96]
	tbz	w12, #1, next			// a fork: the parent of the two is done
	cbnz	x0, done
next:
	add	x9, x9, #112
	b	step
failed:
	neg	x0, x0
	ldr	x11, [x9, #64]
	cmp	x0, x11
	b.eq	to1
	ldr	x11, [x9, #80]
	cmp	x0, x11
	b.eq	to2
	ldr	x12, [x9, #96]
	tbnz	w12, #0, next			// any error is fine
quit:
	mov	x0, #127
	mov	x8, #94				// exit_group
	svc	#0
to1:
	ldr	x9, [x9, #72]
	b	step
to2:
	ldr	x9, [x9, #88]
	b	step
done:
	mov	x0, #0
	mov	x8, #94
	svc	#0
