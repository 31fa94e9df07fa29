/** Owns `scope`: a Vfs that sees one directory of another, so that many tests share a mount without meeting. */
import type { Stat, StatFs } from '../../lib/sys/stat.js'
import type { Dirent, Vfs, Who } from './vfs.js'

/** `fs` with every path taken below `prefix`. Handles and identities are those of `fs`. */
export function scope(fs: Vfs, prefix: string): Vfs {
  const p = (path: string): string => (path === '' ? prefix : `${prefix}/${path}`)
  return {
    as: <T>(who: Who, run: () => T): T => fs.as(who, run),
    stat: (path: string, st: Stat) => fs.stat(p(path), st),
    fstat: (fd: number, st: Stat) => fs.fstat(fd, st),
    statfs: (st: StatFs) => fs.statfs(st),
    readlink: path => fs.readlink(p(path)),
    open: (path, flags, mode) => fs.open(p(path), flags, mode),
    close: fd => fs.close(fd),
    pread: (fd, size, position) => fs.pread(fd, size, position),
    pwrite: (fd, data, position) => fs.pwrite(fd, data, position),
    write: (fd, data) => fs.write(fd, data),
    ftruncate: (fd, length) => fs.ftruncate(fd, length),
    truncate: (path, length) => fs.truncate(p(path), length),
    fallocate: (fd, mode, offset, length) => fs.fallocate(fd, mode, offset, length),
    seek: (fd, offset, whence) => fs.seek(fd, offset, whence),
    copyRange: (from, fromAt, to, toAt, length) => fs.copyRange(from, fromAt, to, toAt, length),
    fsync: fd => fs.fsync(fd),
    mkdir: (path, mode) => fs.mkdir(p(path), mode),
    mknod: (path, mode, rdev) => fs.mknod(p(path), mode, rdev),
    symlink: (target, path) => fs.symlink(target, p(path)),
    link: (path, newPath) => fs.link(p(path), p(newPath)),
    linkFd: (fd, newPath) => fs.linkFd(fd, p(newPath)),
    unlink: path => fs.unlink(p(path)),
    rmdir: path => fs.rmdir(p(path)),
    rename: (path, newPath, flags) => fs.rename(p(path), p(newPath), flags),
    chmod: (path, mode) => fs.chmod(p(path), mode),
    fchmod: (fd, mode) => fs.fchmod(fd, mode),
    chown: (path, uid, gid) => fs.chown(p(path), uid, gid),
    fchown: (fd, uid, gid) => fs.fchown(fd, uid, gid),
    utimens: (path, a, aNs, m, mNs) => fs.utimens(p(path), a, aNs, m, mNs),
    getxattr: (path, name) => fs.getxattr(p(path), name),
    setxattr: (path, name, value, flags) => fs.setxattr(p(path), name, value, flags),
    listxattr: path => fs.listxattr(p(path)),
    removexattr: (path, name) => fs.removexattr(p(path), name),
    opendir: path => fs.opendir(p(path)),
    readdir: (dir, offset, bytes): Dirent[] | number => fs.readdir(dir, offset, bytes),
    closedir: dir => fs.closedir(dir),
  }
}
