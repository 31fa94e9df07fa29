/**
 * Owns the table of verbs: name, one line of help, and how to load the file. One line per verb, grouped as `lamina --help`
 * shows them. A verb of two words (`network create`) is a member of the group named by the first.
 * Invariant: this file imports no command; start-up pays for one verb only.
 */
import type { Command } from './command.js'

export interface Verb {
  readonly describe: string
  readonly load: () => Promise<{ readonly command: Command }>
}

export const groups: Readonly<Record<string, Readonly<Record<string, Verb>>>> = {
  Mounts: {
    mount: { describe: 'Mount an image, or directories as one tree', load: () => import('./commands/mount.js') },
    unmount: {
      describe: 'Unmount, and wait until the server has closed everything',
      load: () => import('./commands/unmount.js'),
    },
    mounts: { describe: 'List mounts and whether they answer', load: () => import('./commands/mounts.js') },
  },
  Containers: {
    run: { describe: 'Run an isolated process on an image or a directory', load: () => import('./commands/run.js') },
    create: { describe: 'Make a container without starting it', load: () => import('./commands/create.js') },
    start: { describe: 'Start containers that do not run', load: () => import('./commands/start.js') },
    exec: { describe: 'Run a process in a running container', load: () => import('./commands/exec.js') },
    ps: { describe: 'List containers', load: () => import('./commands/ps.js') },
    logs: { describe: 'Show what a container has written', load: () => import('./commands/logs.js') },
    attach: { describe: 'Attach to a running container', load: () => import('./commands/attach.js') },
    wait: { describe: 'Wait for containers to end', load: () => import('./commands/wait.js') },
    stop: { describe: 'Stop containers', load: () => import('./commands/stop.js') },
    kill: { describe: 'Send a signal to containers', load: () => import('./commands/kill.js') },
    pause: { describe: 'Freeze containers', load: () => import('./commands/pause.js') },
    unpause: { describe: 'Let frozen containers go on', load: () => import('./commands/unpause.js') },
    restart: { describe: 'Stop containers and start them again', load: () => import('./commands/restart.js') },
    rename: { describe: 'Give a container another name', load: () => import('./commands/rename.js') },
    update: { describe: 'Change limits of containers', load: () => import('./commands/update.js') },
    rm: { describe: 'Remove containers and what they wrote', load: () => import('./commands/rm.js') },
    'container prune': {
      describe: 'Remove containers that do not run',
      load: () => import('./commands/container-prune.js'),
    },
    top: { describe: 'Show the processes of a container', load: () => import('./commands/top.js') },
    port: { describe: 'Show published ports', load: () => import('./commands/port.js') },
    inspect: {
      describe: 'Show all that is known of containers or images',
      load: () => import('./commands/inspect.js'),
    },
    stats: { describe: 'Show what running containers use', load: () => import('./commands/stats.js') },
    events: { describe: 'Show what happens to containers', load: () => import('./commands/events.js') },
  },
  'Networks and volumes': {
    'network create': { describe: 'Make a network', load: () => import('./commands/network-create.js') },
    'network ls': { describe: 'List networks', load: () => import('./commands/network-ls.js') },
    'network rm': { describe: 'Remove networks', load: () => import('./commands/network-rm.js') },
    'network inspect': { describe: 'Show all of networks', load: () => import('./commands/network-inspect.js') },
    'network prune': {
      describe: 'Remove networks that no container has',
      load: () => import('./commands/network-prune.js'),
    },
    'volume create': { describe: 'Make a volume', load: () => import('./commands/volume-create.js') },
    'volume ls': { describe: 'List volumes', load: () => import('./commands/volume-ls.js') },
    'volume rm': { describe: 'Remove volumes', load: () => import('./commands/volume-rm.js') },
    'volume inspect': { describe: 'Show all of volumes', load: () => import('./commands/volume-inspect.js') },
    'volume prune': {
      describe: 'Remove volumes that no container has',
      load: () => import('./commands/volume-prune.js'),
    },
  },
  Inspect: {
    diff: {
      describe: 'Show what changed in a container, or between two images, layers, containers or directories',
      load: () => import('./commands/diff.js'),
    },
    layers: {
      describe: 'Show what each layer of an image adds, changes, removes and wastes',
      load: () => import('./commands/layers.js'),
    },
    explore: {
      describe: 'Explore the layers of an image in a browser, a saved page, or the terminal',
      load: () => import('./commands/explore.js'),
    },
    ci: { describe: 'Check an image against rules on wasted space', load: () => import('./commands/ci.js') },
    cat: { describe: 'Print files of an image or container', load: () => import('./commands/cat.js') },
    ls: { describe: 'List directories of an image or container', load: () => import('./commands/ls.js') },
    cp: {
      describe: 'Copy files out of an image or container, or into a container',
      load: () => import('./commands/cp.js'),
    },
    find: { describe: 'Find paths in an image or container', load: () => import('./commands/find.js') },
    'which-layer': {
      describe: 'Show which layers of an image added, changed or removed a path',
      load: () => import('./commands/which-layer.js'),
    },
  },
  Build: {
    build: { describe: 'Build an image from a Dockerfile', load: () => import('./commands/build.js') },
    lint: { describe: 'Check a Dockerfile for likely mistakes', load: () => import('./commands/lint.js') },
    rollback: {
      describe: 'Make an image name mean the state after an earlier step',
      load: () => import('./commands/rollback.js'),
    },
  },
  Images: {
    images: { describe: 'List images', load: () => import('./commands/images.js') },
    pull: { describe: 'Fetch an image from a registry', load: () => import('./commands/pull.js') },
    push: { describe: 'Send an image to a registry', load: () => import('./commands/push.js') },
    load: { describe: 'Load images from an archive', load: () => import('./commands/load.js') },
    save: { describe: 'Save images into an archive', load: () => import('./commands/save.js') },
    commit: { describe: "Make an image of a container's changes", load: () => import('./commands/commit.js') },
    export: {
      describe: "Write a container's or image's filesystem as a tar",
      load: () => import('./commands/export.js'),
    },
    import: { describe: 'Make an image of a root filesystem tar', load: () => import('./commands/import.js') },
    tag: { describe: 'Give an image another name', load: () => import('./commands/tag.js') },
    rmi: { describe: 'Remove images', load: () => import('./commands/rmi.js') },
    history: { describe: 'Show the steps that made an image', load: () => import('./commands/history.js') },
    login: { describe: 'Log in to a registry', load: () => import('./commands/login.js') },
    logout: { describe: 'Log out from a registry', load: () => import('./commands/logout.js') },
  },
  Store: {
    df: { describe: 'Show the disk space of images, and what sharing saves', load: () => import('./commands/df.js') },
    prune: {
      describe: 'Remove images that nothing needs, and the build cache',
      load: () => import('./commands/prune.js'),
    },
    'image prune': { describe: 'Remove images that nothing needs', load: () => import('./commands/image-prune.js') },
    'builder prune': { describe: 'Remove the build cache', load: () => import('./commands/builder-prune.js') },
    'system prune': {
      describe: 'Remove containers that do not run, networks that none has, and what prune removes',
      load: () => import('./commands/system-prune.js'),
    },
    fsck: { describe: 'Check every image, layer and file of the store', load: () => import('./commands/fsck.js') },
  },
  General: {
    completion: {
      describe: 'Print the completion script for bash, zsh or fish',
      load: () => import('./commands/completion.js'),
    },
    version: { describe: 'Show versions of Lamina, Node and the kernel', load: () => import('./commands/version.js') },
  },
}

/** Every verb by name. */
export const verbs: ReadonlyMap<string, Verb> = new Map(Object.values(groups).flatMap(group => Object.entries(group)))

/** Docker's second form of a verb: the words of a group, `word=verb` where the verb is another (`container ls` is `ps`). */
function forms(group: string, words: string): [string, string][] {
  return words.split(' ').map(word => {
    const [said = '', verb = said] = word.split('=')
    return [`${group} ${said}`, verb]
  })
}

/** Other words for a verb: habits from elsewhere. What follows the verb in the value is said to it first. */
export const aliases: ReadonlyMap<string, string> = new Map([
  ['umount', 'unmount'],
  ...forms(
    'container',
    'run create start exec ls=ps list=ps ps logs attach wait stop kill pause unpause restart rename',
  ),
  ...forms('container', 'update rm remove=rm top port stats diff cp commit export'),
  ['container inspect', 'inspect --type=container'],
  ...forms('image', 'ls=images list=images pull push load save import tag rm=rmi remove=rmi history build'),
  ['image inspect', 'inspect --type=image'],
  ['network list', 'network ls'],
  ['network remove', 'network rm'],
  ['volume list', 'volume ls'],
  ['volume remove', 'volume rm'],
  ...forms('builder', 'build'),
  ...forms('system', 'df events'),
])

/** The verb that the first words name, and the words for it. undefined: none, or only a group's name. */
export function verbOf(words: readonly string[]): { name: string; args: string[] } | undefined {
  for (const count of [2, 1]) {
    const said = words.slice(0, count).join(' ')
    const meant = aliases.get(said)
    if (meant !== undefined) return verbOf([...meant.split(' '), ...words.slice(count)])
    if (verbs.has(said)) return { name: said, args: words.slice(count) }
  }
  return undefined
}

/** What there is in a group (`container`), by second word: verbs, and other words for them. Empty: it is no group. */
export function membersOf(group: string): Map<string, string> {
  const members = new Map<string, string>()
  for (const said of [...verbs.keys(), ...aliases.keys()]) {
    const [first, second] = said.split(' ')
    if (first === group && second !== undefined) members.set(second, aliases.get(said) ?? said)
  }
  return members
}
