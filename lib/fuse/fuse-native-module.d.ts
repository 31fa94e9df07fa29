/**
 * What lib/fuse/fuse-native.ts uses of the package `fuse-native` 2.2, which publishes no types. Members with an
 * underscore are its internals: overriding them is how its faults are mended (see the adapter).
 */
declare module 'fuse-native' {
  /** Answers one request: 0 or `-errno`, then what that operation returns. To be called once. */
  export type Signal = (result: number, ...values: unknown[]) => void
  /** Called by the binding: the request's own struct as a buffer, the opcode, then the operation's arguments. */
  export type Handler = (request: Buffer, opcode: number, ...args: unknown[]) => void

  export interface Operations {
    getattr(path: string, done: Signal): void
    fgetattr(path: string, fd: number, done: Signal): void
    readdir(path: string, done: Signal): void
    readlink(path: string, done: Signal): void
    statfs(path: string, done: Signal): void
    open(path: string, flags: number, done: Signal): void
    create(path: string, mode: number, done: Signal): void
    read(path: string, fd: number, into: Buffer, size: number, at: number, done: Signal): void
    write(path: string, fd: number, from: Buffer, size: number, at: number, done: Signal): void
    release(path: string, fd: number, done: Signal): void
    fsync(path: string, dataOnly: number, fd: number, done: Signal): void
    truncate(path: string, size: number, done: Signal): void
    ftruncate(path: string, fd: number, size: number, done: Signal): void
    utimens(path: string, atime: number, mtime: number, done: Signal): void
    chmod(path: string, mode: number, done: Signal): void
    chown(path: string, uid: number, gid: number, done: Signal): void
    mknod(path: string, mode: number, dev: number, done: Signal): void
    mkdir(path: string, mode: number, done: Signal): void
    unlink(path: string, done: Signal): void
    rmdir(path: string, done: Signal): void
    symlink(target: string, path: string, done: Signal): void
    link(path: string, newPath: string, done: Signal): void
    rename(path: string, newPath: string, done: Signal): void
    setxattr(path: string, name: string, value: Buffer, position: number, flags: number, done: Signal): void
    getxattr(path: string, name: string, position: number, done: Signal): void
    listxattr(path: string, done: Signal): void
    removexattr(path: string, name: string, done: Signal): void
  }

  export default class Fuse {
    constructor(mountpoint: string, operations: Operations, options: { timeout: false })
    mount(done: (error: Error | null) => void): void
    _handlers: Handler[]
    _fuseOptions(): string
    _op_getattr(signal: Signal, path: string): void
    _op_fgetattr(signal: Signal, path: string, fd: number): void
    _op_utimens(signal: Signal, path: string, atimeLow: number, atimeHigh: number): void
    _op_readdir(signal: Signal, path: string): void
    _op_getxattr(signal: Signal, path: string, name: string, into: Buffer, position: number): void
    _op_listxattr(signal: Signal, path: string, into: Buffer): void
  }
}
