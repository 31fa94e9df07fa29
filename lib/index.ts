/**
 * The public API of laminafs, in the order in which data flows (lib/README.md): a table of contents. What is not here may
 * change without notice. Importing this file loads all of it; `laminafs` programs that need one part pay for no other by
 * importing lazily.
 */

// Errors and names
export { FsError, errnoName } from './errno.js'
export { bytesOf, fsPath, textOf } from './bytes.js'
export { runRoot, storeRoot } from './roots.js'

// Images: from a registry or an archive into the store, and out again
export { formatReference, parseReference, type Reference } from './image/reference.js'
export { Store } from './image/store.js'
export { listImages, resolveImage, type StoredImage, type StoredLayer } from './image/images.js'
export { pullImage, type PullOptions, type Pulled } from './image/pull.js'
export { pushImage, type PushOptions } from './image/push.js'
export { loadImages, type LoadOptions } from './image/load.js'
export { saveImages } from './image/save.js'

// Layers at rest
export { isWhiteout, type Layer, type LayerNode } from './layer/layer.js'
export { openDirectoryLayer } from './layer/directory.js'
export { openIndex } from './layer/indexed.js'

// The union, and the seam between it and a transport
export { createUnion, type UnionOptions } from './union/options.js'
export type { Filesystem, Host } from './union/filesystem.js'
export { Session, type SessionOptions } from './fuse/session.js'

// Mounts: served by a process of their own, by this thread, or by a thread beside it
export type { LowerSpec, MountSpec, StackSpec } from './mount/spec.js'
export { MountError, type MountCode } from './mount/failure.js'
export { launchServer } from './mount/launch.js'
export { serve, type ServeRequest } from './mount/serve.js'
export { MountServer, type ServerOptions } from './mount/server.js'
export { listMounts, type MountRecord, type MountState, type MountStatus } from './mount/registry.js'
export { unmountPath, type UnmountOptions } from './mount/unmount.js'

// What changed
export type { Aspect, Attributes, Change } from './diff/change.js'
export { compare, type CompareOptions } from './diff/compare.js'
export { MergedTree } from './diff/merged.js'
export { layerTar } from './diff/layer-tar.js'

// Building and running
export { build, type BuildRequest, type BuildResult } from './build/build.js'
export { parseDockerfile } from './build/dockerfile.js'
export { Containers, type Container } from './runtime/containers.js'
export { createContainer } from './runtime/create.js'
export { execIn, type ExecOptions } from './runtime/exec.js'
