/* pid 1 of a container with --init: runs a program, forwards signals to it, reaps orphans, ends with its exit code.
   Freestanding: no libc, no relocations, one read-execute segment. The listings beside it are gcc's output of
     gcc -Os -S -ffreestanding -fPIE -fno-stack-protector -fno-asynchronous-unwind-tables -fomit-frame-pointer
         -fcf-protection=none (x86-64) -fno-jump-tables -fno-tree-loop-distribute-patterns -mno-outline-atomics (arm64)
   and init.ts has the bytes they assemble to. */

#ifdef __x86_64__
enum { READ_ = 0, WRITE = 1, IOCTL = 16, CLONE = 56, EXECVE = 59, EXIT = 231, WAIT4 = 61, KILL = 62, SETPGID = 109,
       SIGPROCMASK = 14, SIGTIMEDWAIT = 128, GETPID = 39 };
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
static long call(long nr, long a, long b, long c, long d) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = 0;
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return r;
}
#else
enum { READ_ = 63, WRITE = 64, IOCTL = 29, CLONE = 220, EXECVE = 221, EXIT = 94, WAIT4 = 260, KILL = 129, SETPGID = 154,
       SIGPROCMASK = 135, SIGTIMEDWAIT = 137, GETPID = 172 };
__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl start\n");
static long call(long nr, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = 0;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}
#endif

enum { SIGCHLD = 17, TIOCSPGRP = 0x5410, ENOENT = 2, EACCES = 13, ENOTDIR = 20, WNOHANG = 1, SETMASK = 2 };

static int has_slash(const char *s) {
  for (; *s; s++)
    if (*s == '/') return 1;
  return 0;
}

static void say(const char *s) {
  long n = 0;
  while (s[n]) n++;
  call(WRITE, 2, (long)s, n, 0);
}

/* execvp: the directories of PATH in order; EACCES is remembered. Returns the exit code to end with. */
static int run(char **argv, char **envp) {
  char path[4096];
  const char *dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  int denied = 0;
  if (has_slash(argv[0])) {
    long r = call(EXECVE, (long)argv[0], (long)argv, (long)envp, 0);
    return r == -ENOENT || r == -ENOTDIR ? 127 : 126;
  }
  for (char **e = envp; *e; e++) {
    char *s = *e;
    if (s[0] == 'P' && s[1] == 'A' && s[2] == 'T' && s[3] == 'H' && s[4] == '=') dirs = s + 5;
  }
  while (*dirs) {
    long n = 0;
    while (*dirs && *dirs != ':' && n < 3000) path[n++] = *dirs++;
    while (*dirs && *dirs != ':') dirs++;
    if (*dirs == ':') dirs++;
    path[n++] = '/';
    for (const char *s = argv[0]; *s && n < 4095; s++) path[n++] = *s;
    path[n] = 0;
    long r = call(EXECVE, (long)path, (long)argv, (long)envp, 0);
    if (r != -ENOENT && r != -ENOTDIR) denied = 1;
  }
  return denied ? 126 : 127;
}

__attribute__((noreturn, used)) void start(long *sp) {
  char **argv = (char **)sp + 1;
  char **envp = argv + sp[0] + 1;
  unsigned long all = ~0UL, none = 0;
  argv++;
  if (argv[0] && argv[0][0] == '-' && argv[0][1] == '-' && !argv[0][2]) argv++;
  call(SIGPROCMASK, SETMASK, (long)&all, 0, 8);
  long child = call(CLONE, SIGCHLD, 0, 0, 0);
  if (child == 0) {
    /* A group of its own in the foreground: what the terminal sends comes once, not by way of pid 1 too. */
    int own = call(GETPID, 0, 0, 0, 0);
    call(SETPGID, 0, 0, 0, 0);
    call(IOCTL, 0, TIOCSPGRP, (long)&own, 0);
    call(SIGPROCMASK, SETMASK, (long)&none, 0, 8);
    int code = run(argv, envp);
    say("lamina-init: ");
    say(argv[0]);
    say(code == 127 ? ": command not found\n" : ": cannot be executed\n");
    call(EXIT, code, 0, 0, 0);
  }
  for (;;) {
    long signal = call(SIGTIMEDWAIT, (long)&all, 0, 0, 8);
    if (signal == SIGCHLD) {
      int status;
      long pid;
      while ((pid = call(WAIT4, -1, (long)&status, WNOHANG, 0)) > 0)
        if (pid == child) call(EXIT, (status & 0x7f) ? 128 + (status & 0x7f) : (status >> 8) & 0xff, 0, 0, 0);
    } else if (signal > 0)
      call(KILL, child, signal, 0, 0);
  }
}
