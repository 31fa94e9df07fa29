/**
 * Owns real programs as tests: each workload is a shell script that is run in a directory of the mount and in one of the
 * host, and both trees are compared afterwards.
 * Scripts get $D (the directory), $S (scratch outside of it), $C (scratch that stays for the next run) and $H (the user's
 * home, for what is configured there), and must be deterministic in what they leave in $D.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { accessSync, constants, mkdirSync, mkdtempSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface Workload {
  readonly title: string
  /** Programs it needs, by name or path. */
  readonly needs: readonly string[]
  readonly script: string
  /** Paths below $D whose contents differ from run to run. */
  readonly volatile?: RegExp
  /** Contents of regular files are compared. */
  readonly contents?: boolean
  /** It needs more than this machine. */
  readonly outside?: true
}

const git = `export GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' HOME=$S
g() { git -C "$D/repo" -c user.name=n -c user.email=e@localhost -c gc.auto=0 -c pack.threads=1 "$@"; }`

export const workloads: readonly Workload[] = [
  {
    title: 'git: commit, branch, checkout, merge, gc, clone, fsck',
    needs: ['git'],
    script: `${git}
      mkdir "$D/repo"; g init -q -b main
      for i in $(seq 60); do mkdir -p "$D/repo/d$((i % 7))"; seq $i 200 > "$D/repo/d$((i % 7))/f$i"; done
      g add -A; g commit -qm one
      g checkout -qb side; sed -i s/100/hundred/ "$D"/repo/d[03456]/f*; g mv d1 e1; g commit -qam two
      g checkout -q main; rm -r "$D/repo/d2"; g commit -qam three; g merge -q -m merged side
      g gc -q --prune=now; g fsck --strict
      git clone -q --no-local "$D/repo" "$D/clone"
      test -z "$(g status --porcelain)"; test -z "$(git -C "$D/clone" status --porcelain)"`,
    volatile: /\/\.git\//,
  },
  {
    title: 'tar and rsync keep everything there and back',
    needs: ['tar', 'rsync', 'setfattr', 'setfacl'],
    script: `mkdir -p "$S/tree/a/b"; cd "$S/tree"
      seq 5000 > a/large; ln a/large a/b/hard; ln -s ../large a/b/soft; mkfifo a/pipe; mknod a/null c 1 3
      truncate -s 10M a/sparse; printf x | dd of=a/sparse bs=1 seek=5M conv=notrunc status=none
      setfattr -n user.test -v value a/large; setfacl -m u:12:rw a/b; chmod 4755 a/large; chown 5:6 a/b
      touch -d '2001-02-03 04:05:06.123456789' a/large a/b
      tar -C "$S" --xattrs --acls -cf "$S/t.tar" tree
      tar -C "$D" --xattrs --xattrs-include='*' --acls -xpf "$S/t.tar"
      rsync -aHAX --sparse "$D/tree/" "$D/copy/"; rsync -aHAX --sparse "$D/copy/" "$S/back/"
      cd "$S/back"; test "$(stat -c %h a/large)" = 2; cmp a/sparse "$S/tree/a/sparse"
      test "$(getfattr --only-values -n user.test a/large)" = value
      test "$(stat -c %y a/large)" = "$(stat -c %y "$S/tree/a/large")"
      test -z "$(rsync -aHAXn --itemize-changes --delete "$S/tree/" "$D/copy/" | grep -v '/$')"`,
  },
  {
    title: 'sqlite: rollback journal and WAL, several writers, integrity check',
    needs: ['sqlite3'],
    script: `for mode in delete truncate persist wal; do
        db="$D/$mode.db"
        sqlite3 "$db" "pragma journal_mode=$mode; create table t(i integer primary key, x text);" > /dev/null
        for w in 1 2 3; do
          ( for i in $(seq 15); do sqlite3 "$db" ".timeout 200000" "begin immediate; insert into t(x) values(hex(zeroblob(3000))); update t set x=x||'y' where i%5=0; commit;"; done ) &
        done; wait
        test "$(sqlite3 "$db" 'pragma integrity_check; select count(*) from t;' | tr '\\n' ' ')" = "ok 45 "
        sqlite3 "$db" 'delete from t where i > 20; vacuum;'
        test "$(sqlite3 "$db" 'pragma integrity_check;')" = ok
      done`,
    contents: false,
    volatile: /\.db/,
  },
  {
    title: 'dpkg: install, upgrade and remove packages in a root of its own',
    needs: ['dpkg', 'dpkg-deb'],
    script: `for v in 1 2; do mkdir -p "$S/p$v/DEBIAN" "$S/p$v/usr/share/p" "$S/p$v/etc"
        printf 'Package: p\\nVersion: %s\\nArchitecture: all\\nMaintainer: n <n@localhost>\\nDescription: d\\n' $v > "$S/p$v/DEBIAN/control"
        echo /etc/p.conf > "$S/p$v/DEBIAN/conffiles"; echo conf $v > "$S/p$v/etc/p.conf"
        for i in $(seq 40); do seq $v $((i * 9)) > "$S/p$v/usr/share/p/f$i"; done
        ln "$S/p$v/usr/share/p/f1" "$S/p$v/usr/share/p/linked"
        find "$S/p$v" -exec touch -hd '2001-01-01' {} +
        dpkg-deb --root-owner-group -Znone -b "$S/p$v" "$S/p$v.deb" > /dev/null; done
      rm "$S/p2/usr/share/p/f7"
      mkdir -p "$D/var/lib/dpkg/updates" "$D/var/lib/dpkg/info" "$D/var/lib/dpkg/triggers"; touch "$D/var/lib/dpkg/status" "$D/var/lib/dpkg/available"
      dpkg --root="$D" --force-not-root --force-confnew --log=/dev/null -i "$S/p1.deb" > /dev/null
      dpkg --root="$D" --force-not-root --force-confnew --log=/dev/null -i "$S/p2.deb" > /dev/null
      dpkg --root="$D" --force-not-root --verify p; test "$(cat "$D/etc/p.conf")" = 'conf 2'
      dpkg --root="$D" --force-not-root --log=/dev/null --remove p > /dev/null; test ! -e "$D/usr/share/p"`,
    volatile: /var\/lib\/dpkg\/(status-old|lock|info)/,
  },
  {
    title: 'apt-get: update, install with a dependency, upgrade, remove, in a root of its own',
    needs: ['apt-get', 'dpkg-deb', 'sha256sum'],
    script: `p() { mkdir -p "$S/$1-$2/DEBIAN" "$S/$1-$2/usr/share/$1" "$S/repo"; seq "$2" 900 > "$S/$1-$2/usr/share/$1/data"
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: n <n@localhost>\nDescription: d\n' "$1" "$2" > "$S/$1-$2/DEBIAN/control"
        test -z "\${3:-}" || echo "Depends: $3" >> "$S/$1-$2/DEBIAN/control"
        find "$S/$1-$2" -exec touch -hd '2001-01-01' {} +
        f="$S/repo/$1-$2.deb"; dpkg-deb --root-owner-group -Znone -b "$S/$1-$2" "$f" > /dev/null
        { dpkg-deb -f "$f"; printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$1-$2.deb" "$(stat -c %s "$f")" "$(sha256sum < "$f" | cut -d' ' -f1)"; } >> "$S/repo/Packages"; }
      mkdir -p "$D/etc/apt/apt.conf.d" "$D/etc/apt/preferences.d" "$D/etc/apt/sources.list.d" "$D/etc/apt/trusted.gpg.d" "$D/var/log/apt"
      mkdir -p "$D/var/lib/apt/lists/partial" "$D/var/cache/apt/archives/partial" "$D/var/lib/dpkg/updates" "$D/var/lib/dpkg/info" "$D/var/lib/dpkg/triggers"
      touch "$D/var/lib/dpkg/status" "$D/var/lib/dpkg/available"; echo "deb [trusted=yes] copy:$S/repo ./" > "$D/etc/apt/sources.list"
      printf '%s\n' 'APT::Sandbox::User "root";' 'Acquire::Languages "none";' > "$S/apt.conf"
      printf 'Dir "%s/"; Dir::State::status "%s/var/lib/dpkg/status";\n' "$D" "$D" >> "$S/apt.conf"
      printf 'DPkg::Options { "--root=%s"; "--force-not-root"; "--log=/dev/null"; };\n' "$D" >> "$S/apt.conf"
      apt() { APT_CONFIG="$S/apt.conf" apt-get -qq -y "$@" > "$S/log" 2>&1 < /dev/null || { cat "$S/log"; exit 1; }; }
      p b 1; p a 1 b; apt update; apt install a; test "$(tail -1 "$D/usr/share/b/data")" = 900
      p b 2; apt update; apt upgrade; test "$(head -1 "$D/usr/share/b/data")" = 2
      dpkg --root="$D" --force-not-root --verify
      apt remove b; test ! -e "$D/usr/share/a"; apt clean`,
    volatile: /\/var\/(log|cache|lib\/(apt|dpkg\/(status-old|lock|info)))|\/sources\.list/,
  },
  {
    title: 'gcc: compile, archive, link, run',
    needs: ['gcc', 'ar'],
    script: `cd "$D"; for i in 1 2 3 4 5; do echo "int f$i(void) { return $i; }" > f$i.c; gcc -O1 -c f$i.c; done
      ar rcsD libf.a f*.o; printf 'int f3(void); int main(void) { return f3() - 3; }' > main.c
      gcc -Wl,--build-id=none -o main main.c libf.a; ./main; strip main; ./main`,
  },
  {
    title: 'fsx-like shuffles by dd: overwrite, punch, extend, truncate',
    needs: ['dd', 'fallocate', 'truncate'],
    script: `cd "$D"; seq 100000 > f; for i in $(seq 40); do
        seq $i 3000 | dd of=f bs=1 seek=$((i * 7919 % 500000)) conv=notrunc iflag=fullblock status=none bs=4096 seek=$((i * 13 % 120))
        fallocate -p -o $((i * 4096 * 5 % 400000)) -l 9000 f; truncate -s $((300000 + i * 777)) f
        seq 20 >> f; done`,
  },
  {
    title: 'many processes in one directory: create, rename, link, unlink',
    needs: ['sh'],
    script: `cd "$D"; for w in 1 2 3 4; do ( for i in $(seq 60); do
        echo "$w $i" > "t.$w.$i"; mv "t.$w.$i" "m.$w.$i"; ln "m.$w.$i" "l.$w.$i"; rm "m.$w.$i"; mkdir "d.$w.$i"; mv "l.$w.$i" "d.$w.$i/x"; done ) & done; wait
      test "$(find . -type f | wc -l)" = 240`,
  },
]

export function lacking(workload: Workload): string | undefined {
  const path = (process.env['PATH'] ?? '').split(':')
  const has = (program: string): boolean =>
    (program.startsWith('/') ? ['/'] : path).some(d => {
      try {
        accessSync(join(d, program), constants.X_OK)
        return true
      } catch {
        return false
      }
    })
  const missing = workload.needs.filter(program => !has(program))
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`
}

/** Runs the script. Its output when it fails, else undefined. */
export function run(workload: Workload, directory: string, scratch: string): string | undefined {
  mkdirSync(directory, { recursive: true })
  const own = mkdtempSync(join(scratch, 'work-'))
  const cache = join(scratch, 'cache')
  mkdirSync(cache, { recursive: true })
  const result = spawnSync('/bin/sh', ['-euc', `umask 022\n${workload.script}`], {
    env: { PATH: process.env['PATH'], D: directory, S: own, C: cache, H: homedir(), LC_ALL: 'C', TZ: 'UTC' },
    cwd: '/',
    encoding: 'utf8',
    timeout: 900_000,
  })
  execFileSync('rm', ['-rf', own])
  return result.status === 0 ? undefined : `exit ${result.status ?? result.signal}: ${result.stdout}${result.stderr}`
}
