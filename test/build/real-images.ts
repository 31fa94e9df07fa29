/**
 * Owns the builds of real images, for the test that runs what they made and for the bench that times them: a C program to
 * scratch, a Node service, a Python program, nginx; on `base`, a Debian with `PACKAGES`.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What mmdebstrap has to include. */
export const PACKAGES = 'gcc,libc6-dev,make,python3-minimal,nodejs,npm,nginx-light,ca-certificates'
export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export type RealImage = 'c' | 'python' | 'node' | 'nginx'

/** Writes the contexts of all of them below `directory` and says where each is. Needs npm, and the registry. */
export function realImages(directory: string, base: string): Record<RealImage, string> {
  const files: Record<RealImage, Record<string, string>> = {
    c: {
      'main.c': '#include <stdio.h>\nint main(int c, char **v) { printf("hello %d\\n", c); }\n',
      Dockerfile: `FROM ${base} AS build
WORKDIR /src
COPY main.c .
RUN gcc -O2 -static -o hello main.c && ./hello
FROM scratch
COPY --from=build /src/hello /hello
ENTRYPOINT ["/hello"]
`,
    },
    node: {
      'package.json': '{ "name": "svc", "version": "1.0.0", "type": "module", "dependencies": { "ms": "2.1.3" } }',
      'server.mjs':
        "import { createServer } from 'node:http'\nimport ms from 'ms'\ncreateServer((q, r) => r.end(`two hours are ${ms('2h')} ms`)).listen(8080)\n",
      Dockerfile: `FROM ${base}
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm --mount=type=secret,id=ca,target=/ca.pem NODE_EXTRA_CA_CERTS=/ca.pem npm ci
COPY server.mjs .
USER nobody
EXPOSE 8080
CMD ["node", "server.mjs"]
`,
    },
    python: {
      'app.py': 'import json, sys\nprint(json.dumps({"sum": sum(map(int, sys.argv[1:]))}))\n',
      Dockerfile: `FROM ${base}
COPY app.py /app/
RUN python3 -m compileall -q /app
ENTRYPOINT ["python3", "/app/app.py"]
`,
    },
    nginx: {
      'site.conf': 'server { listen 8081; location / { return 200 "from nginx\\n"; } }\n',
      Dockerfile: `FROM ${base}
COPY site.conf /etc/nginx/sites-enabled/default
RUN nginx -t
EXPOSE 8081
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
`,
    },
  }
  for (const [name, contents] of Object.entries(files)) {
    mkdirSync(join(directory, name), { recursive: true })
    for (const [file, text] of Object.entries(contents)) writeFileSync(join(directory, name, file), text)
  }
  execFileSync('npm', ['install', '--package-lock-only', '--silent'], { cwd: join(directory, 'node') })
  const places = Object.keys(files).map(name => [name, join(directory, name)])
  return Object.fromEntries(places) as Record<RealImage, string>
}

/** Behind a proxy that signs for the registry, its certificate is a secret of the build. */
export function registrySecret(): string[] {
  const ca = process.env['NODE_EXTRA_CA_CERTS']
  return ca === undefined ? [] : ['--secret', `id=ca,src=${ca}`]
}
