/**
 * Owns the names that completion offers: of containers, images and mounts, by what a verb calls its arguments.
 * Invariant: a store that is not there, or not readable, has no names; completion never shows an error.
 */

type Source = 'containers' | 'images' | 'mounts' | 'shells'

/** What an argument called so means. */
const byArgument: Readonly<Record<string, readonly Source[]>> = {
  container: ['containers'],
  image: ['images'],
  images: ['images'],
  source: ['images'],
  a: ['containers', 'images'],
  b: ['containers', 'images'],
  shell: ['shells'],
}

/** Where the argument's name says too little. */
const byVerb: Readonly<Record<string, readonly Source[]>> = {
  'inspect name': ['containers', 'images'],
  'export name': ['containers'],
  'images name': ['images'],
  'unmount mountpoint': ['mounts'],
  'mounts mountpoint': ['mounts'],
}

/** Names that may stand for `argument` of `verb`; undefined: files. */
export async function namesFor(
  verb: string,
  argument: string,
  root: string,
  runRoot: string,
): Promise<readonly string[] | undefined> {
  const sources =
    byVerb[`${verb} ${argument}`] ?? (Object.hasOwn(byArgument, argument) ? byArgument[argument] : undefined)
  if (sources === undefined) return undefined
  const found = await Promise.all(sources.map(source => list(source, root, runRoot).catch((): string[] => [])))
  return found.flat()
}

async function list(source: Source, root: string, runRoot: string): Promise<string[]> {
  switch (source) {
    case 'containers': {
      const { Containers } = await import('../runtime/containers.js')
      return (await new Containers(root, runRoot).all()).map(container => container.config.name)
    }
    case 'images': {
      const [{ Store }, { listImages }, { familiarName, parseReference, nameOf }] = await Promise.all([
        import('../image/store.js'),
        import('../image/images.js'),
        import('../image/reference.js'),
      ])
      const { existsSync } = await import('node:fs')
      if (!existsSync(`${root}/index.json`)) return []
      return listImages(Store.open(root)).flatMap(image =>
        image.names.map(name => {
          const reference = parseReference(name)
          return `${familiarName(nameOf(reference))}${reference.tag === undefined ? '' : `:${reference.tag}`}`
        }),
      )
    }
    case 'mounts': {
      const { records } = await import('../mount/registry.js')
      return records(runRoot).map(record => record.mountpoint)
    }
    case 'shells':
      return Object.keys((await import('./complete.js')).scripts)
  }
}
