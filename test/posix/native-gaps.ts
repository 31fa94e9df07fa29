/** Owns the list of what the fuse-native transport cannot do: reasons, and the titles of the cases that show it. */
const gaps: Readonly<Record<string, readonly string[]>> = {
  'rename flags do not reach libfuse 2': [
    'EXCHANGE swaps any two: files, directories, a file and a directory',
    'NOREPLACE renames to a free name, also one that was freed',
  ],
  'libfuse 2 has no O_TMPFILE': [
    'O_TMPFILE with O_EXCL never gets a name',
    'O_TMPFILE: a file without a name, until it gets one',
  ],
  'fuse-native has no ioctl': [
    'an immutable file or directory changes in no way, an append-only one only grows, until the flag goes',
    'inode flags are asked and set on files and directories, in both forms, and stay',
  ],
  'libfuse 2 has no statx': ['a birth time is told, and is not after the change time'],
  'one user: others are kept out, for it is not told who asks': [
    'a created file has the mode asked for without the umask, and the creator as its owner',
    'a setgid directory gives its group to what is made in it, and its bit to directories',
    'a user works in a directory of his own as in any other',
    'a write or a truncate by a user clears suid, sgid and capabilities; by root only capabilities',
  ],
  'libfuse 2 has no POSIX ACLs': [
    'a default ACL is inherited, and stands in for the umask',
    'a named user of an ACL gets what the mask leaves',
    'an access ACL and the mode are one: chmod moves the mask, the ACL moves the group bits',
    'an ACL decides who executes: owner, named user, group, mask, others, each by its own entry alone (099)',
    'a directory made below a default ACL of three entries has it, and its mode by it (319)',
    'sgid goes when an owner outside the group sets a mode or an ACL, and stays when he is in it (375)',
    'a subdirectory of a setgid directory with a default ACL is setgid, whoever makes it (444)',
  ],
  'libfuse 2 knows paths, not inodes: hard links are files of their own, and what is open is told by its name': [
    'a lock of a reader that changes owner, mode and times of a file of the lower stays its lock',
    'what a rename replaces has no link left for who holds it open: a file, a directory (035)',
    'a removed directory that is still open can be looked at, and nothing can be made in it',
    'names of 255 bytes work everywhere',
  ],
  'times are milliseconds since 1970, and set both at once': [
    'attributes of device nodes, FIFOs and sockets change, and their numbers stay',
    'opening and reading move no mtime',
    'times are kept to the nanosecond, before 1970 and after 2038',
    'times of a directory move with its entries, and not with reading',
    'utimensat: OMIT and NOW in every combination, on files and symlinks, by the owner and by a writer',
    'raw upper: a change of attributes moves no data, and the data follows when it is written',
  ],
  'names and targets must be UTF-8': [
    'every byte but / and NUL can be a name',
    'names that are no UTF-8 are found, renamed and removed',
    'symlinks hold any target, up to 4095 bytes',
  ],
  'libfuse 2.9 by fuse-native has no fallocate and no lseek': [
    'fallocate: collapse and insert ranges',
    'fallocate: reserve, keep the size, punch, and refuse what is wrong',
    'holes: written far out, found by SEEK_HOLE and SEEK_DATA, read as zeroes',
    'mtime and ctime move with write, truncate and fallocate',
  ],
}

/** The reason by title. */
export const nativeGaps: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(gaps).flatMap(([reason, titles]) => titles.map(title => [title, reason])),
)
