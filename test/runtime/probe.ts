/** A program in Python that says as JSON lines what a process is and what it may do. Used in containers of Lamina and of others. */
export const probe = String.raw`
"""What a process in a container is and may do, as JSON lines: name, outcome."""
import ctypes, errno, json, os, platform, re, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == 'x86_64'
def show(name, outcome): print(json.dumps([name, outcome]), flush=True)
def call(name, *args):
    ctypes.set_errno(0)
    r = libc.syscall(*[a if isinstance(a, bytes) else ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    show(name, 'allowed' if r >= 0 else errno.errorcode.get(ctypes.get_errno(), '?'))
def apart(name, *args):
    """In a process of its own: what it changes must not help the others."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        call(name, *args)
        os._exit(0)
    os.waitpid(pid, 0)
def attempt(name, what):
    try:
        r = what()
        show(name, 'allowed' if r is None else r)
    except OSError as e: show(name, errno.errorcode[e.errno])
def write(path, text='x'):
    def go():
        with open(path, 'w') as f: f.write(text)
    attempt('write ' + path, go)
def read(path):
    def go():
        with open(path, 'rb') as f: return 'empty' if f.read(64) == b'' else 'read'
    attempt('read ' + path, go)
for line in open('/proc/self/status'):
    if re.match('Cap|NoNewPrivs|Seccomp:|Groups|Uid|Gid', line): show(*line.rstrip('\n').split(':\t'))
show('id', subprocess.run(['id'], capture_output=True, text=True).stdout.strip())
own = {k: os.stat('/proc/self/ns/' + k).st_ino for k in os.listdir('/proc/self/ns')}
show('namespaces', sorted(k for k, v in own.items()))
mounts = [l.split() for l in open('/proc/mounts')]
show('writable mounts', sorted({f[1] for f in mounts if 'rw' in f[3].split(',') and f[1].startswith(('/proc/', '/sys'))}))
show('mounts where programs may gain', sorted({f[1] for f in mounts if 'nosuid' not in f[3] and f[1].startswith(('/dev', '/proc/', '/sys')) and 'rw' in f[3].split(',')}))
show('mounts where programs may be', sorted({f[1] for f in mounts if 'noexec' not in f[3] and f[1].startswith(('/dev', '/sys'))}))
show('devices', sorted(os.listdir('/dev')))
def n(a, b): return a if x86 else b
apart('unshare network', n(272, 97), 0x40000000)
apart('unshare pid', n(272, 97), 0x20000000)
apart('unshare cgroup', n(272, 97), 0x02000000)
apart('unshare user', n(272, 97), 0x10000000)
apart('unshare mount', n(272, 97), 0x20000)
apart('clone3', 435, None, 0)
call('mount tmpfs', n(165, 40), b'none', b'/tmp', b'tmpfs', 0, None)
call('remount /sys', n(165, 40), b'none', b'/sys', None, 0x1020, None)
call('umount /proc/kcore', n(166, 39), b'/proc/kcore', 0)
call('umount /sys/firmware', n(166, 39), b'/sys/firmware', 0)
call('pivot_root', n(155, 41), b'/', b'/')
apart('setns', n(308, 268), 0, 0)
call('fsopen', 430, b'tmpfs', 0)
call('open_tree', 428, -100, b'/', 1)
call('init_module', n(175, 105), b'', 0, b'')
call('finit_module', n(313, 273), -1, b'', 0)
call('delete_module', n(176, 106), b'nothing', 0)
call('kexec_load', n(246, 104), 0, 0, None, 0)
call('reboot', n(169, 142), 0, 0, 0, None)
call('swapon', n(167, 224), b'/none', 0)
call('settimeofday', n(164, 170), ctypes.byref(ctypes.create_string_buffer(16)), None)
call('sethostname', n(170, 161), b'x', 1)
call('add_key', n(248, 217), b'user', b'k', b'v', 1, -2)
apart('keyctl', n(250, 219), 0, -3, 0)
call('request_key', n(249, 218), b'user', b'k', None, -2)
call('bpf', n(321, 280), 0, None, 0)
call('perf_event_open', n(298, 241), None, 0, -1, -1, 0)
call('userfaultfd', n(323, 282), 0)
call('open_by_handle_at', n(304, 265), -1, None, 0)
call('syslog', n(103, 116), 10, None, 0)
call('ptrace of 1', n(101, 117), 16, 1, 0, 0)
call('process_vm_readv', n(310, 270), 1, None, 0, None, 0, 0)
call('acct', n(163, 89), b'/tmp/x')
call('quotactl', n(179, 60), 0, None, 0, None)
call('io_uring_setup', 425, 1, None)
apart('chroot', n(161, 51), b'/')
call('nfsservctl', n(180, 42), 0, None, None)
call('lookup_dcookie', n(212, 18), 0, None, 0)
apart('vhangup', n(153, 58))
apart('personality linux32', n(135, 92), 8)
apart('personality other', n(135, 92), 0x0040000 | 0x20)
call('socket raw', n(41, 198), 2, 3, 1)
call('socket packet', n(41, 198), 17, 3, 0)
call('socket vsock', n(41, 198), 40, 1, 0)
call('socket alg', n(41, 198), 38, 5, 0)
call('mknod block', n(259, 33), -100, b'/tmp/disk', 0o60600, 254 << 8)
read('/tmp/disk')
call('mknod char', n(259, 33), -100, b'/tmp/mem', 0o20600, (1 << 8) | 1)
read('/tmp/mem')
for p in ['/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/proc/sys/kernel/randomize_va_space', '/proc/sys/vm/overcommit_memory', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/kernel/hostname', '/proc/sys/kernel/modprobe', '/proc/irq/0/smp_affinity', '/proc/bus/x', '/sys/kernel/profiling', '/sys/kernel/uevent_helper', '/sys/power/state', '/sys/fs/cgroup/x', '/sys/fs/cgroup/memory/x', '/sys/fs/cgroup/devices/devices.allow', '/sys/fs/cgroup/cgroup.procs', '/proc/self/oom_score_adj', '/proc/1/oom_score_adj', '/dev/new', '/dev/shm/new', '/etc/new']: write(p)
for p in ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/sched_debug', '/proc/latency_stats', '/proc/timer_stats', '/proc/kallsyms', '/proc/modules', '/proc/1/environ', '/dev/kmsg', '/dev/mem', '/dev/vda', '/proc/kmsg', '/proc/acpi/x', '/proc/scsi/scsi', '/sys/kernel/debug/x']: read(p)
attempt('nice', lambda: os.nice(-5) and None)
attempt('mkdir cgroup', lambda: os.mkdir('/sys/fs/cgroup/memory/x'))
attempt('ls /sys/firmware', lambda: sorted(os.listdir('/sys/firmware')))
attempt('ls /proc/acpi', lambda: sorted(os.listdir('/proc/acpi')))
attempt('ls /proc/scsi', lambda: sorted(os.listdir('/proc/scsi')))
attempt('processes', lambda: [p for p in os.listdir('/proc') if p.isdigit()] == [str(os.getpid())])
attempt('root of 1', lambda: os.readlink('/proc/1/root'))
attempt('exe of 1', lambda: os.path.basename(os.readlink('/proc/1/exe')).startswith('python'))
attempt('descriptors', lambda: sorted(f for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f)))
attempt('links', lambda: sorted(os.listdir('/sys/class/net')))
attempt('oom_score_adj', lambda: open('/proc/self/oom_score_adj').read().strip())
attempt('umask', lambda: os.umask(0))
attempt('setuid', lambda: os.setresuid(1000, 1000, 1000))
write('/etc/other')
call('kill 1 as a user', n(62, 129), 1, 0)
`

/** Outcome by attempt. Names of errnos are refusals; `allowed` and `read` are not. */
export function outcomes(text: string): Map<string, unknown> {
  return new Map(
    text
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line) as [string, unknown]),
  )
}
