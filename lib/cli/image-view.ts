/** Owns the description of an image that `inspect` prints, with Docker's field names. */

/** Throws ImageError IMAGE_NOT_FOUND. */
export async function imageView(root: string, name: string): Promise<Record<string, unknown>> {
  const [{ Store }, { resolveImage, createdAt }] = await Promise.all([
    import('../image/store.js'),
    import('../image/images.js'),
  ])
  const image = resolveImage(Store.open(root), name)
  return {
    Id: image.id,
    RepoTags: image.names,
    RepoDigests: image.repoDigests,
    Created: new Date(createdAt(image)).toISOString(),
    Architecture: image.config.architecture ?? '',
    Os: image.config.os ?? '',
    Config: image.config.config ?? {},
    RootFS: { Type: 'layers', Layers: image.layers.map(l => l.diffID) },
  }
}
