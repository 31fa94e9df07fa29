import { closeSync, openSync } from 'node:fs'
import t from 'tap'
import { E } from '../../lib/errno.js'
import { fgetxattr, flistxattr, fsetxattr, getxattrat, listxattrat, setxattrat } from '../../lib/sys/xattr.js'

t.test('values and lists of any size come whole, those beyond the first room too', t => {
  const dir = t.testdir({ f: '' })
  const at = openSync(dir, 'r')
  const fd = openSync(`${dir}/f`, 'r+')
  t.teardown(() => {
    for (const open of [at, fd]) closeSync(open)
  })
  for (const size of [0, 1, 1023, 1024, 1025, 3000]) {
    const value = Buffer.alloc(size, size % 251)
    const r = fsetxattr(fd, 'user.value', value)
    if (r === -E.EOPNOTSUPP) {
      t.end()
      return
    }
    t.equal(r, 0)
    t.ok(value.equals(fgetxattr(fd, 'user.value') as Buffer))
    t.ok(value.equals(getxattrat(at, 'f', 'user.value') as Buffer))
  }
  // A filesystem may have one block for all of a file's attributes.
  t.equal(fsetxattr(fd, 'user.value', Buffer.alloc(0)), 0)
  t.equal(fgetxattr(fd, 'user.none'), -E.ENODATA)
  t.equal(getxattrat(at, 'f', 'user.none'), -E.ENODATA)
  const names = Array.from({ length: 12 }, (_, i) => `user.${String(i).padStart(150, '0')}`)
  for (const name of names) t.equal(setxattrat(at, 'f', name, Buffer.alloc(0)), 0)
  t.same([...(flistxattr(fd) as string[])].sort(), [...names, 'user.value'].sort())
  t.same([...(listxattrat(at, 'f') as string[])].sort(), [...names, 'user.value'].sort())
  t.end()
})
