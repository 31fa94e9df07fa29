/**
 * Owns COPY and ADD: where the files come from, where they go, what of them the cache looks at.
 * Rules (reference, "COPY", "ADD"): context files are root's; those of a stage keep their owner; with `--link` the
 * destination knows nothing of the layers below, so the step does not depend on them; archives of the context are
 * unpacked by ADD, remote ones only with `--unpack`.
 * Invariant: the key covers names, modes, owners and contents of what is copied, never times.
 */
import { createReadStream, readSync } from 'node:fs'
import { bytesOf } from '../bytes.js'
import { chainOf } from '../digest.js'
import type { TreeInode } from '../layer/tree.js'
import { close } from '../sys/file.js'
import { ownerOf, type Account } from './accounts.js'
import { ARCHIVE_HEAD, archiveKind, holdsTar } from './archive.js'
import { keyOf, type Inputs } from './cache.js'
import { Draft, type Owner, type PlaceOptions } from './draft.js'
import { BuildError } from './error.js'
import { expand } from './expand.js'
import { openUrl, isGit, isUrl, openGit, type Remote } from './fetch.js'
import { IGNORE_NOTHING } from './ignore.js'
import type { Add, Copy, FileSource } from './instruction.js'
import { EmptyTree, MemoryTree } from './layer-tree.js'
import { parseChmod } from './quantity.js'
import { digestSelection, hasWildcard, lineOf, select, type SelectedSource } from './selection.js'
import type { Outcome, StepContext } from './step.js'
import { cachedLayer } from './step-cache.js'
import { epochInput, fromWorkdir } from './step-workdir.js'
import { isFile, type Tree } from './tree.js'

/** One source, ready to be placed. */
type Item =
  | { readonly from: 'tree'; readonly tree: Tree; readonly selected: readonly SelectedSource[]; readonly wild: boolean }
  | { readonly from: 'text'; readonly name: string; readonly bytes: Buffer }
  | { readonly from: 'remote'; readonly remote: Remote }

const ROOT: Owner = { uid: 0, gid: 0 }

export async function copyStep(context: StepContext, instruction: Copy | Add): Promise<Outcome> {
  const { session, state } = context
  const destination = destinationOf(context, instruction)
  const exclude = instruction.exclude.map(context.expand)
  const opened: Tree[] = []
  const remotes: Remote[] = []
  try {
    const from = await sourceTree(context, instruction, opened)
    const items: Item[] = []
    for (const source of instruction.sources)
      items.push(await itemOf(context, instruction, source, from, exclude, remotes))
    const owner = instruction.chown === undefined ? undefined : chownOf(context, context.expand(instruction.chown))
    const chmod = instruction.chmod === undefined ? undefined : context.expand(instruction.chmod)
    // Files of the context are root's; a stage's stay whose they were.
    const fallback = from.stage ? undefined : ROOT
    const ownerKey = (owner ?? fallback) ? () => '' : (st: { uid: number; gid: number }) => `${st.uid}:${st.gid}`
    const inputs: Inputs = {
      kind: instruction.kind.toLowerCase(),
      below: instruction.link ? 'link' : (chainOf(state.layers) ?? 'scratch'),
      content: items.map(item => contentOf(item, ownerKey)),
      destination,
      chown: owner ? `${owner.uid}:${owner.gid}` : '',
      chmod: chmod ?? '',
      flags: flagsOf(instruction),
      epoch: epochInput(context),
    }
    const files = (): string[] =>
      items.flatMap(item =>
        item.from === 'tree' ? item.selected.flatMap(s => s.entries.map(e => lineOf(item.tree, e, ownerKey))) : [],
      )
    const options: PlaceOptions = {
      owner: owner ?? fallback,
      chmod: chmod === undefined ? undefined : parseChmod(chmod),
      time: session.options.epoch,
    }
    const outcome = await cachedLayer(
      context,
      keyOf(inputs),
      inputs,
      async () => {
        const base = instruction.link ? new EmptyTree() : session.tree(state.layers)
        opened.push(base)
        const draft = new Draft(base, session.store, session.options.epoch ?? Math.floor(Date.now() / 1000))
        const many = items.length > 1
        for (const item of items) await place(context, instruction, draft, item, destination, many, options, owner)
        return draft.empty ? undefined : session.store.addTree(draft.root)
      },
      files,
    )
    return { ...outcome, createdBy: shown(context, instruction) }
  } finally {
    for (const tree of opened) tree.close()
    for (const remote of remotes) remote.dispose()
  }
}

/** Absolute; a `/` at the end says it is a directory. */
function destinationOf(context: StepContext, instruction: Copy | Add): string {
  const { kind } = instruction
  const given = context.expand(instruction.destination)
  if (given === '') throw new BuildError('ARGUMENTS', `${kind}: the destination is empty after expansion`)
  const directory = /(^|\/)\.{0,2}$/.test(given)
  if (instruction.sources.length > 1 && !directory)
    throw new BuildError(
      'ARGUMENTS',
      `${kind} with more than one source: the destination must be a directory and end with a /`,
    )
  const path = fromWorkdir(context.state.config.WorkingDir, given)
  return directory && path !== '/' ? `${path}/` : path
}

async function sourceTree(
  context: StepContext,
  instruction: Copy | Add,
  opened: Tree[],
): Promise<{ tree: Tree; stage: boolean }> {
  if (instruction.kind === 'ADD' || instruction.source === undefined)
    return { tree: context.session.context.tree, stage: false }
  const { layers } = await context.from(instruction.source)
  const tree = context.session.tree(layers)
  opened.push(tree)
  return { tree, stage: true }
}

async function itemOf(
  context: StepContext,
  instruction: Copy | Add,
  source: FileSource,
  from: { tree: Tree; stage: boolean },
  exclude: readonly string[],
  remotes: Remote[],
): Promise<Item> {
  const { session } = context
  if (source.from === 'heredoc') {
    const { heredoc } = source
    const env = context.scope.get
    const text = heredoc.expand ? expandHeredoc(heredoc.body, context, env) : heredoc.body
    return { from: 'text', name: heredoc.name, bytes: Buffer.from(text) }
  }
  const pattern = context.expand(source.path)
  if (instruction.kind === 'ADD' && (isGit(pattern) || isUrl(pattern))) {
    const scratch = session.store.scratch
    const checksum = instruction.checksum === undefined ? undefined : context.expand(instruction.checksum)
    const { signal } = session.options
    const remote = isGit(pattern)
      ? await openGit(pattern, { scratch, checksum, signal, keepGitDir: instruction.keepGitDir })
      : await openUrl(pattern, { scratch, checksum, signal })
    remotes.push(remote)
    return { from: 'remote', remote }
  }
  const ignore = from.stage ? IGNORE_NOTHING : session.context.ignore
  const parents = instruction.kind === 'COPY' && instruction.parents
  return {
    from: 'tree',
    tree: from.tree,
    selected: select(from.tree, pattern, { ignore, exclude, parents }),
    wild: hasWildcard(pattern),
  }
}

/** Here-document bodies: variables are replaced, quotes mean nothing. */
function expandHeredoc(body: string, context: StepContext, env: (name: string) => string | undefined): string {
  // Quotes are ordinary characters here: escape them for the word expansion.
  const { escape } = context
  const protectedBody = body.replace(/["']/g, quote => escape + quote)
  return expand(protectedBody, { escape, env }).value
}

function chownOf(context: StepContext, text: string): Owner {
  const tree = context.session.tree(context.state.layers)
  try {
    const { uid, gid }: Pick<Account, 'uid' | 'gid'> = ownerOf(tree, text)
    return { uid, gid }
  } finally {
    tree.close()
  }
}

function contentOf(item: Item, owner: (st: { uid: number; gid: number }) => string): string {
  if (item.from === 'text') return `text ${item.name} ${item.bytes.toString('base64')}`
  if (item.from === 'remote') return item.remote.key
  return digestSelection(item.tree, item.selected, owner)
}

function flagsOf(instruction: Copy | Add): string {
  if (instruction.kind === 'COPY') return instruction.parents ? 'parents' : ''
  const unpack = instruction.unpack === undefined ? '' : ` unpack=${instruction.unpack}`
  return `add${unpack}${instruction.keepGitDir ? ' git' : ''}`
}

async function place(
  context: StepContext,
  instruction: Copy | Add,
  draft: Draft,
  item: Item,
  destination: string,
  many: boolean,
  options: PlaceOptions,
  owner: Owner | undefined,
): Promise<void> {
  const { session } = context
  const to = bytesOf(destination)
  switch (item.from) {
    case 'text': {
      const path = many || destination.endsWith('/') ? `${destination}/${item.name}` : destination
      draft.placeFile(item.bytes, bytesOf(path), 0o644, {
        ...options,
        time: options.time ?? Math.floor(Date.now() / 1000),
      })
      return
    }
    case 'tree': {
      const parents = instruction.kind === 'COPY' && instruction.parents
      const unpack = instruction.kind === 'ADD' && instruction.unpack !== false
      for (const source of item.selected) {
        const archive = unpack && source.kind === 'file' ? await archiveIn(context, item.tree, source) : undefined
        if (archive) unpackInto(context, draft, archive, to, options, owner)
        else draft.place(item.tree, [source], to, many || item.wild || parents, options)
      }
      return
    }
    case 'remote': {
      const remote = await item.remote.get()
      if (remote.kind === 'tree') {
        const selected = select(remote.tree, remote.path, { ignore: remote.ignore })
        draft.place(remote.tree, selected, to, many, { ...options, owner: options.owner ?? ROOT })
        return
      }
      const unpack = instruction.kind === 'ADD' && instruction.unpack === true
      if (unpack) {
        const stream = createReadStream(remote.file)
        unpackInto(context, draft, await session.store.readArchive(stream), to, options, owner)
        return
      }
      const object = remote.store(session.store)
      const directory = many || destination.endsWith('/')
      if (directory && remote.name === '')
        throw new BuildError(
          'DESTINATION',
          `add ${remote.url}: no file name in the URL, and ${destination} is a directory`,
        )
      const path = directory ? `${destination}/${remote.name}` : destination
      draft.placeFile(object, bytesOf(path), 0o600, options, remote.mtime)
    }
  }
}

/** Archives keep their owners and times; `--chown` overrides the owner, `--chmod` is for files that are copied. */
function unpackInto(
  context: StepContext,
  draft: Draft,
  root: TreeInode,
  to: string,
  options: PlaceOptions,
  owner: Owner | undefined,
): void {
  const tree = new MemoryTree(root, hex => context.session.store.openObject(hex))
  draft.place(tree, select(tree, '/'), to, true, { ...options, owner, chmod: undefined })
}

/** The tree in the file, or undefined when it is no archive (a plain gzip file is copied as it is). */
async function archiveIn(context: StepContext, tree: Tree, source: SelectedSource): Promise<TreeInode | undefined> {
  const entry = source.entries[0]!
  if (!isFile(entry.stat)) return undefined
  const head = Buffer.alloc(ARCHIVE_HEAD)
  const fd = tree.open(entry.path)
  let length: number
  try {
    length = readSync(fd, head, 0, ARCHIVE_HEAD, 0)
  } finally {
    close(fd)
  }
  const kind = archiveKind(head.subarray(0, length))
  if (kind === undefined) return undefined
  const read = async <T>(use: (bytes: AsyncIterable<Buffer>) => Promise<T>): Promise<T> => {
    const stream = createReadStream('', { fd: tree.open(entry.path), autoClose: true })
    try {
      return await use(stream)
    } finally {
      stream.destroy()
    }
  }
  if (kind === 'compressed' && !(await read(holdsTar))) return undefined
  return read(bytes => context.session.store.readArchive(bytes))
}

function shown(context: StepContext, instruction: Copy | Add): string {
  const flags = instruction.at.flags.map(f => ` --${f.name}${f.value === undefined ? '' : `=${f.value}`}`).join('')
  const sources = instruction.sources.map(s => (s.from === 'heredoc' ? `<<${s.heredoc.name}` : context.expand(s.path)))
  return `${instruction.kind}${flags} ${sources.join(' ')} ${context.expand(instruction.destination)}`
}
