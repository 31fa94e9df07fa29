/** One of several processes of the model test: `play.js TREE MODEL SEED COUNT`. Exit code 1 and the difference on stderr. */
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { compareTrees, explain, sequence } from './model.js'

const [tree = '', model = '', seed = '0', count = '0'] = process.argv.slice(2)
const remount = (): void => {
  throw new Error('another process cannot remount')
}
const difference = compareTrees(
  { fs: new DirectoryVfs(tree), remount },
  { fs: new DirectoryVfs(model), remount },
  sequence(Number(seed), Number(count), 0),
  { every: 20, directoryLinks: true },
)
if (difference !== undefined) {
  process.stderr.write(explain(Number(seed), difference, []))
  process.exitCode = 1
}
