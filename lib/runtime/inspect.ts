/** Owns the full description of a container for programs, with Docker's field names and nesting. */
import { join } from 'node:path'
import { deviceRuleText } from './cgroup/limits.js'
import type { ContainerConfig, NamespaceMode } from './config.js'
import type { Container } from './containers.js'
import { liveStatus } from './status.js'
import { volumeData } from './volumes.js'

const never = '0001-01-01T00:00:00Z'

export function inspectContainer(container: Container, root: string): Record<string, unknown> {
  const { config, state, directory, id } = container
  const status = liveStatus(container)
  const running = status === 'running' || status === 'paused'
  const driver = config.driver ?? 'fuse'
  return {
    Id: id,
    Created: config.created,
    Path: config.args[0] ?? '',
    Args: config.args.slice(1),
    State: {
      Status: status,
      Running: running,
      Paused: status === 'paused',
      Restarting: status === 'restarting',
      OOMKilled: state.oomKilled,
      Dead: false,
      Pid: state.pid,
      ExitCode: state.exitCode,
      Error: state.error,
      StartedAt: state.startedAt || never,
      FinishedAt: state.finishedAt || never,
      ...(config.health === undefined
        ? {}
        : {
            Health: {
              Status: state.health.status,
              FailingStreak: state.health.failures,
              Log: state.health.log.map(l => ({ Start: l.start, End: l.end, ExitCode: l.exitCode, Output: l.output })),
            },
          }),
    },
    Image: config.root.kind === 'image' ? config.root.id : '',
    ResolvConfPath: join(directory, 'resolv.conf'),
    HostnamePath: join(directory, 'hostname'),
    HostsPath: join(directory, 'hosts'),
    LogPath: join(directory, 'log'),
    Name: `/${config.name}`,
    RestartCount: state.restartCount,
    Driver: driver,
    Platform: 'linux',
    ExecIDs: null,
    HostConfig: hostConfig(config),
    GraphDriver: {
      Name: driver,
      Data: { UpperDir: join(directory, 'upper'), WorkDir: join(directory, 'work') },
    },
    Mounts: config.mounts.map(m => ({
      Type: m.kind,
      ...(m.kind === 'volume' ? { Name: m.source } : {}),
      Source: m.kind === 'volume' ? volumeData(root, m.source) : m.source,
      Destination: m.destination,
      Mode: m.options.join(','),
      RW: !m.options.includes('ro'),
      Propagation: m.options.find(o => /(private|slave|shared)$/.test(o)) ?? (m.kind === 'tmpfs' ? '' : 'rprivate'),
    })),
    Config: {
      Hostname: config.hostname,
      MacAddress: config.mac ?? '',
      Domainname: config.domainname,
      User: config.user,
      Tty: config.tty,
      OpenStdin: config.interactive,
      Env: config.env,
      Cmd: config.args.slice(config.entrypoint.length),
      Image: config.root.kind === 'image' ? config.root.reference : config.root.path,
      Volumes: null,
      WorkingDir: config.workdir,
      Entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
      Labels: config.labels,
      StopSignal: config.stopSignal,
      StopTimeout: config.stopTimeout,
      ExposedPorts: Object.fromEntries(config.exposed.map(p => [p.includes('/') ? p : `${p}/tcp`, {}])),
      ...(config.health === undefined
        ? {}
        : {
            Healthcheck: {
              Test: config.health.test,
              Interval: config.health.interval * 1e9,
              Timeout: config.health.timeout * 1e9,
              StartPeriod: config.health.startPeriod * 1e9,
              ...(config.health.startInterval === undefined
                ? {}
                : { StartInterval: config.health.startInterval * 1e9 }),
              Retries: config.health.retries,
            },
          }),
    },
    NetworkSettings: networkSettings(container),
  }
}

function mode(m: NamespaceMode): string {
  return m === 'private' ? '' : m === 'host' ? 'host' : `container:${m.container}`
}

function networkMode({ network }: ContainerConfig): string {
  if (typeof network === 'string') return network
  return 'container' in network ? `container:${network.container}` : network.network
}

function hostConfig(config: ContainerConfig): Record<string, unknown> {
  const { memory, cpu, pids, blockIO } = config.resources
  return {
    AutoRemove: config.autoRemove,
    Binds: config.mounts
      .filter(m => m.kind === 'bind' || m.kind === 'volume')
      .map(m => [m.source, m.destination, ...(m.options.length > 0 ? [m.options.join(',')] : [])].join(':')),
    VolumesFrom: config.volumesFrom ?? null,
    Links: config.links?.map(l => `/${l.name}:/${config.name}/${l.alias}`) ?? null,
    Annotations: config.annotations ?? {},
    DeviceCgroupRules: config.deviceRules?.map(deviceRuleText) ?? null,
    NetworkMode: networkMode(config),
    PortBindings: portBindings(config),
    RestartPolicy: { Name: config.restart.name, MaximumRetryCount: config.restart.retries },
    CapAdd: config.capAdd,
    CapDrop: config.capDrop,
    Dns: config.dns,
    DnsOptions: config.dnsOptions,
    DnsSearch: config.dnsSearch,
    ExtraHosts: config.extraHosts,
    GroupAdd: config.groupAdd,
    IpcMode: mode(config.ipc) || 'private',
    PidMode: mode(config.pid),
    UTSMode: mode(config.uts),
    CgroupnsMode: config.cgroupns,
    CgroupParent: config.cgroupParent,
    Privileged: config.privileged,
    PublishAllPorts: config.publishAll,
    ReadonlyRootfs: config.readOnly,
    SecurityOpt: [
      ...(config.noNewPrivileges ? ['no-new-privileges'] : []),
      ...(config.seccomp === 'default' ? [] : [`seccomp=${config.seccomp}`]),
    ],
    ShmSize: config.shmSize,
    Sysctls: config.sysctls,
    Init: config.init,
    OomScoreAdj: config.oomScoreAdj,
    Memory: memory?.limit ?? 0,
    MemorySwap: memory?.swap ?? 0,
    MemoryReservation: memory?.reservation ?? 0,
    NanoCpus: cpu?.quota === undefined ? 0 : Math.round((cpu.quota / (cpu.period ?? 100_000)) * 1e9),
    CpuShares: cpu?.shares ?? 0,
    CpuPeriod: cpu?.period ?? 0,
    CpuQuota: cpu?.quota ?? 0,
    CpusetCpus: cpu?.cpus ?? '',
    CpusetMems: cpu?.mems ?? '',
    PidsLimit: pids?.limit ?? 0,
    BlkioWeight: blockIO?.weight ?? 0,
    BlkioWeightDevice: blockIO?.weightDevice ?? [],
    Devices: config.devices.map(d => ({
      PathOnHost: d.source,
      PathInContainer: d.destination,
      CgroupPermissions: d.access,
    })),
    Ulimits: config.ulimits.map(u => ({ Name: u.type, Soft: u.soft, Hard: u.hard })),
    LogConfig: { Type: config.log.off ? 'none' : 'json-file', Config: {} },
    Runtime: config.runtime || 'lamina',
  }
}

function portBindings(config: Pick<ContainerConfig, 'ports'>): Record<string, { HostIp: string; HostPort: string }[]> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const p of config.ports)
    (bindings[`${p.containerPort}/${p.protocol}`] ??= []).push({ HostIp: p.hostIp, HostPort: String(p.hostPort || '') })
  return bindings
}

function networkSettings({ config, state }: Container): Record<string, unknown> {
  const n = state.network
  const endpoint = {
    IPAddress: n?.address ?? '',
    IPPrefixLen: n?.prefix ?? 0,
    Gateway: n?.gateway ?? '',
    MacAddress: n?.mac ?? '',
  }
  const name = networkMode(config)
  return {
    Ports: portBindings({ ports: n?.ports ?? [] }),
    ...endpoint,
    Networks: name.startsWith('container:') ? {} : { [name]: { ...endpoint, Aliases: config.networkAliases } },
  }
}
