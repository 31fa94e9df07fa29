/**
 * Owns the real programs that take long: a database server, and a package manager with tens of thousands of files.
 * PostgreSQL is not among the packages that the set-up installs, because its package starts a server: it is used where it is.
 */
import { existsSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Workload } from './workloads.js'

/** Where Debian keeps the server's programs: beside the PATH, by version. The newest. */
function postgresPrograms(): string {
  const versions = '/usr/lib/postgresql'
  if (!existsSync(versions)) return '/nonexistent'
  const newest = readdirSync(versions).toSorted((a, b) => Number(b) - Number(a))[0] ?? ''
  return `${versions}/${newest}/bin`
}

export const longWorkloads: readonly Workload[] = [
  {
    // It refuses to be root, and its user cannot come through the test's own directories: so it sees its own as /mnt.
    title: 'PostgreSQL: initdb, pgbench by several clients, a server that is killed, checksums of every page',
    needs: [`${postgresPrograms()}/initdb`, `${postgresPrograms()}/pgbench`, 'unshare', 'setpriv', 'psql'],
    script: `P='${postgresPrograms()}'; chown nobody "$D"; chmod 755 "$S"; cat > "$S/script" <<'EOF'
        cd /mnt; export PGHOST=/mnt PGDATABASE=postgres PGDATA=/mnt/db LC_ALL=C
        "$P/initdb" -k -A trust -U nobody --no-locale -E UTF8 > log
        printf '%s\\n' "listen_addresses=''" "unix_socket_directories='/mnt'" autovacuum=off shared_buffers=16MB >> db/postgresql.conf
        up() { "$P/pg_ctl" -w -t 200 -l /mnt/log start > /dev/null; }
        up
        "$P/pgbench" -q -i -s 2 2> /dev/null
        "$P/pgbench" -n -c 4 -t 150 --random-seed=7 > bench 2>> log
        # Killed: the next start replays the log.
        "$P/pg_ctl" -m immediate stop > /dev/null
        up
        psql -qAt > result <<'SQL'
          select count(*), sum(abalance), md5(string_agg(aid || ':' || abalance, ',' order by aid)) from pgbench_accounts;
          select tid, tbalance from pgbench_tellers order by tid;
          select bid, bbalance from pgbench_branches order by bid;
          select count(*), sum(delta) from pgbench_history;
          create index on pgbench_accounts (abalance); vacuum full pgbench_accounts; reindex table pgbench_history;
          select count(*) from pgbench_accounts where abalance <> 0;
SQL
        "$P/pg_ctl" -m fast stop > /dev/null
        "$P/pg_checksums" -c -D db | grep '^Bad checksums'
        grep 'actually processed' bench
        rm log bench
EOF
      unshare -m sh -euc 'mount --bind "$0" /mnt; export P="$2"; exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -eu "$1"' "$D" "$S/script" "$P" < /dev/null > "$S/said"
      grep -q '^Bad checksums: *0$' "$S/said"; grep -q 'processed: 600/600$' "$S/said"; test -s "$D/result"`,
    // Which pages were written when is the scheduler's.
    volatile: /\/db\//,
  },
  {
    title: 'npm ci: the packages of this project, from the registry or its cache',
    needs: ['npm'],
    outside: true,
    script: `cp "${resolve('package.json')}" "${resolve('package-lock.json')}" "$D"
      cd "$D"; HOME="$H" npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error --cache="$C" > "$S/log" 2>&1 || { cat "$S/log"; exit 1; }
      HOME="$H" npm ls --all --loglevel=error --cache="$C" > /dev/null
      node -e 'require("typescript"); require("prettier")'
      HOME="$H" npm ci --ignore-scripts --offline --no-audit --no-fund --loglevel=error --cache="$C" > "$S/log" 2>&1 || { cat "$S/log"; exit 1; }`,
  },
]
