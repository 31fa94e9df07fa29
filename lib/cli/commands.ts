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
    mount: { describe: 'Mount directories as one tree', load: () => import('./commands/mount.js') },
    unmount: {
      describe: 'Unmount, and wait until the server has closed everything',
      load: () => import('./commands/unmount.js'),
    },
    mounts: { describe: 'List mounts and whether they answer', load: () => import('./commands/mounts.js') },
  },
  Containers: {
    run: { describe: 'Run an isolated process on an image or a directory', load: () => import('./commands/run.js') },
    rm: { describe: 'Remove containers and what they wrote', load: () => import('./commands/rm.js') },
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

/** Other words for a verb: habits from elsewhere. */
export const aliases: ReadonlyMap<string, string> = new Map([['umount', 'unmount']])
