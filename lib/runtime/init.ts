/**
 * Owns the program that --init runs as pid 1: a static ELF executable of about a kilobyte, written from the bytes here.
 * Formats: ELF64 (elf(5)) with one read-execute segment at 0x400000; the code begins behind the headers, at _start.
 * init/init.c is the source, init/x86-64.s and init/arm64.s the listings of the bytes (a test assembles and compares).
 * Invariant: the file is complete under its name (temporary name, rename) and read-only for everybody.
 */
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const arm = process.arch === 'arm64'

/** Text and read-only data, linked to run at 0x400078. */
export const initCode = Buffer.from(
  arm
    ? '4AMAkXgAAJToAwCq4AMBquEDAqriAwOq4wMEqgQAgNIBAADUwANf1uIDAKoDAIDSQGhjOKAAADUEAIDSQQCA0gAIgNLx//8XYwQA' +
        'kfn//xfnAwGqDAKC0gEAQPn/YyzL5gMAquADAar+AwD5AgBAOUICADUFAACQ4AMHqqXwEJEEAED5JAIAtelDAJEKAIBS6wWAUiwA' +
        'gFKgAEA5IAgANeAPgFIAAApL/gNA+QwCgtL/YyyLwANf1l+8AHEACABUAAQAker//xeBAEA5P0ABccEBAFSBBEA5PwQBcWEBAFSB' +
        'CEA5P1ABcQEBAFSBDEA5PyABcaEAAFSBEEA5P/QAcUEAAFSFFACRACAAkd3//xeAaCk4hAQAkaBoZDgf6ABxBBhAemAAAFSf4C7x' +
        'If//VKUABIugAEA5H+gAcQQYQHpBAwBUH+gAcUEAAFSlBACRwQBA+YAEAJEraSQ45AMkqiEABIsiaGA4YgAANB/8P/EBAgBU4wMH' +
        'quIDBqrhAwmqBACA0j9pIDigG4DSn///lx8IALEEGFS6SgGMGr///xcEAIDS3f//F6UEAJHi//8XImkgOAAEAJHr//8X4wMHquID' +
        'BqoEAIDSoBuA0o///5cfCACxBBhUuuAXnxoA+AERsv//F+UDAKr+Dx347gMAqgAAgJLgfwKpoAhA+cYFQfhAAQC0AQBAOT+0AHHh' +
        'AABUAQRAOT+0AHGBAABUAAhAOUAAADWuYACR74MAkQQBgNLiAw+qAwCA0kEAgNLgEIDScv//lwQAgNIDAIDSAgCA0iECgNKAG4DS' +
        'bP//l+0DAKogBgC1BACA0gMAgNICAIDSAQCA0oAVgNJk//+XBACA0gMAgNICAIDSAQCA0uAfALlAE4DSXf//l+NzAJEEAIDSAoKK' +
        '0gEAgNKgA4DSV///l+KjAJEEAYDSAwCA0kEAgNLgEIDSUf//l8EIAJHgAw6qoQwBi1///5flAwAqAAAAkACQEpFR//+XwAFA+U//' +
        '/5e//AFxAQAAkCE4EpEAAACQAOQRkQAAgZpI//+XoXxAkwQAgNIDAIDSAgCA0sALgNI6//+X5XMAkQIAgNLhAw+qBAGA0gMAgNIg' +
        'EYDSM///l+IDAKofRADx4QIAVOIDBaoEAIDSIwCA0gEAgJKAIIDSKv//lx8AAPEN/v9UvwEA6+H+/1TgH0C5BACA0gMAgNICGABy' +
        'QQACEQA8SNMCAIDSIXxAkwEAgZrAC4DSG///l+v//xcfAADxDfz/VOEDDaoEAIDSAwCA0iAQgNIT//+X2v//Fy91c3IvbG9jYWwv' +
        'c2JpbjovdXNyL2xvY2FsL2JpbjovdXNyL3NiaW46L3Vzci9iaW46L3NiaW46L2JpbgA6IGNvbW1hbmQgbm90IGZvdW5kCgA6IGNh' +
        'bm5vdCBiZSBleGVjdXRlZAoAbGFtaW5hLWluaXQ6IAA='
    : 'SInnSIPk8Oh7AQAASIn+MdKAPBYAdAVI/8Lr9UUx0kUxwLgBAAAAvwIAAAAPBcNBVkiJ8kFVQVRVU0iJ+0iB7IgPAABIiz9IifiK' +
        'CITJdA6A+S8PhPgAAABI/8Dr7EiJ0UyNDeMCAABIiwFIhcB0J4A4UHUcgHgBQXUWgHgCVHUQgHgDSHUKgHgEPXUETI1IBUiDwQjr' +
        '0THtTI1kJIdIjXwkiEG9OwAAAEG+AQAAAEGAOQAPhI8AAAAxwEGKDAGEyXQWgPk6dBFIPbgLAAB0CUj/wEGIDATr4kkBwUGKCYTJ' +
        'dAqA+Tp0Ckn/wevvgPk6dQNJ/8FIizPGRASIL0iNSAFIKcaKRA7/hMB0EkiB+f8PAAB0CUj/wUGIBAzr5sZEDIgARTHSRTHATIno' +
        'SIneDwVIg/j+D4R0////SIP47EEPRe7pZ////7h/AAAAKejrJkUx0kUxwLg7AAAASIneDwVIg/j+D5TCSIP47A+UwAnCD7bCg8B+' +
        'SIHEiA8AAFtdQVxBXUFew0FXMcBJiflBVkFVQVRVU0iNXxBIg+woTIsvSIlEJCBIi0cQSMdEJBj/////SIXAdBWAOC11EIB4AS11' +
        'CoB4AgB1BEiNXxhIjUQkGL0OAAAARTHAMdJBvAIAAABIiQQkQboIAAAASIs0JEiJ6EyJ5w8FRTHSuDgAAAC/EQAAAEiJ1g8FSYnG' +
        'SIXAD4WXAAAAuCcAAABMifdMifZMifIPBYlEJBS4bQAAAA8FuBAAAABIjVQkFL4QVAAADwVBuggAAABIiehMiedMifJIjXQkIA8F' +
        'S4106RBIid/oyv3//0iNPUcBAABBicHomP3//0iLO+iQ/f//QYP5f0iNBRYBAABIjT36AAAASA9F+Oh1/f//SWP5RTHSRTHAuOcA' +
        'AABMifZMifIPBUG5gAAAAEiNXCQUvT0AAABJg8z/Qb0BAAAAQb8+AAAAMdJIizwkQboIAAAARTHATInISInWDwVIicZIg/gRdUlF' +
        'MdJFMcBIiehMiedIid5MieoPBUiFwH7HSTnGdeKLRCQUicIPtsSD4n90Bo2CgAAAADHSSGP4RTHSRTHAuOcAAABIidYPBeu3SIXA' +
        'fpJFMdJFMcBMifhMifcPBeuCL3Vzci9sb2NhbC9zYmluOi91c3IvbG9jYWwvYmluOi91c3Ivc2JpbjovdXNyL2Jpbjovc2Jpbjov' +
        'YmluADogY29tbWFuZCBub3QgZm91bmQKADogY2Fubm90IGJlIGV4ZWN1dGVkCgBsYW1pbmEtaW5pdDogAA==',
  'base64',
)

const BASE = 0x400000n
const HEADERS = 0x78

/** The executable. */
export function initElf(): Buffer {
  const elf = Buffer.alloc(HEADERS + initCode.length)
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0)
  elf.writeUInt16LE(2, 16) // ET_EXEC
  elf.writeUInt16LE(arm ? 183 : 62, 18)
  elf.writeUInt32LE(1, 20)
  elf.writeBigUInt64LE(BASE + BigInt(HEADERS), 24)
  elf.writeBigUInt64LE(64n, 32)
  elf.writeUInt16LE(64, 52)
  elf.writeUInt16LE(56, 54)
  elf.writeUInt16LE(1, 56)
  elf.writeUInt32LE(1, 64) // PT_LOAD
  elf.writeUInt32LE(5, 68) // read, execute
  elf.writeBigUInt64LE(BASE, 80)
  elf.writeBigUInt64LE(BASE, 88)
  elf.writeBigUInt64LE(BigInt(elf.length), 96)
  elf.writeBigUInt64LE(BigInt(elf.length), 104)
  elf.writeBigUInt64LE(0x1000n, 112)
  initCode.copy(elf, HEADERS)
  return elf
}

/** Path of the program, written now if it is not there. */
export function initProgram(runRoot: string): string {
  const path = join(runRoot, `init-${process.arch}-1`)
  if (existsSync(path)) return path
  mkdirSync(runRoot, { recursive: true })
  const temporary = `${path}.${process.pid}`
  writeFileSync(temporary, initElf())
  chmodSync(temporary, 0o555)
  renameSync(temporary, path)
  return path
}
