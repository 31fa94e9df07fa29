import t from 'tap'
import { parseDockerfile } from '../../lib/build/dockerfile.js'
import { ignoreOf } from '../../lib/build/ignore.js'
import { lint, RULES } from '../../lib/build/lint.js'

const found = (text: string, ignore?: string[]): string[] =>
  lint(parseDockerfile(text), ignore && ignoreOf(ignore)).findings.map(f => `${f.rule} ${f.location.line}`)

/** Text that is wrong, what is found, and the same put right. */
const cases: readonly (readonly [string, string[], string])[] = [
  ['FROM a AS Base\n', ['StageNameCasing 1'], 'FROM a AS base\n'],
  ['FROM a as base\n', ['FromAsCasing 1'], 'from a as base\n'],
  ['FROM a\nRUN x \\\n\n  y\n', ['NoEmptyContinuation 3'], 'FROM a\nRUN x \\\n  # c\n  y\n'],
  ['FROM a\nrun x\nRUN y\n', ['ConsistentInstructionCasing 2'], 'from a\nrun x\n'],
  ['FROM a\nRun x\nRUN y\n', ['ConsistentInstructionCasing 2'], 'FROM a\nRUN x\n'],
  ['FROM a AS b\nFROM a AS b\n', ['DuplicateStageName 2'], 'FROM a AS b\nFROM a AS c\n'],
  ['FROM a AS scratch\n', ['ReservedStageName 1'], 'FROM scratch AS a\n'],
  ['FROM a\nCMD run it\n', ['JSONArgsRecommended 2'], 'FROM a\nSHELL ["bash"]\nCMD run it\n'],
  ['FROM a\nENTRYPOINT run it\n', ['JSONArgsRecommended 2'], 'FROM a\nENTRYPOINT ["run", "it"]\n'],
  ['FROM a\nMAINTAINER me\n', ['MaintainerDeprecated 2'], 'FROM a\nLABEL by=me\n'],
  ['FROM a:${V}x\n', ['UndefinedArgInFrom 1'], 'ARG V=1\nFROM a:${V}\n'],
  ['FROM a\nWORKDIR x\n', ['WorkdirRelativePath 2'], 'FROM a\nWORKDIR /x\nWORKDIR y\n'],
  ['FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y\nFROM a\nWORKDIR z\n', ['WorkdirRelativePath 6'], 'FROM a\n'],
  ['FROM a\nARG VERSION\nCOPY $VERSON /\n', ['UndefinedVar 3'], 'FROM a\nARG VERSION\nCOPY $VERSION ${X:-y} /\n'],
  ['FROM a\nCMD ["a"]\nCMD ["b"]\n', ['MultipleInstructionsDisallowed 2'], 'FROM a\nCMD ["a"]\nFROM a\nCMD ["b"]\n'],
  [
    'FROM a\nENV name value\nLABEL k v\n',
    ['LegacyKeyValueFormat 2', 'LegacyKeyValueFormat 3'],
    'FROM a\nENV name=value\n',
  ],
  ['FROM --platform=$TARGETPLATFORM a\n', ['RedundantTargetPlatform 1'], 'FROM --platform=$BUILDPLATFORM a\n'],
  [
    'FROM a\nARG DB_PASSWORD\nENV API_TOKEN=x\n',
    ['SecretsUsedInArgOrEnv 2', 'SecretsUsedInArgOrEnv 3'],
    'FROM a\nENV PUBLIC_KEY=x MONKEY=y\n',
  ],
  ['ARG TAG\nFROM a:$TAG\n', ['InvalidDefaultArgInFrom 2'], 'ARG TAG=1\nFROM a:$TAG\n'],
  [
    'FROM --platform=linux/arm64 a\n',
    ['FromPlatformFlagConstDisallowed 1'],
    'FROM --platform=linux/arm64 a AS build-arm64\n',
  ],
  ['FROM a\nEXPOSE 80/TCP\n', ['ExposeProtoCasing 2'], 'FROM a\nEXPOSE 80/tcp\n'],
  ['FROM a\nEXPOSE 127.0.0.1:80:80\n', ['ExposeInvalidFormat 2'], 'FROM a\nEXPOSE 80-90\n'],
  [
    '# check=experimental=all\n# other words\nFROM a AS b\n',
    ['InvalidDefinitionDescription 3'],
    '# other words\nFROM a AS b\n',
  ],
]

t.test('each rule finds its fault, and nothing once it is put right', async t => {
  for (const [wrong, expected, right] of cases) {
    t.strictSame(found(wrong), expected, JSON.stringify(wrong))
    t.strictSame(found(right), [], JSON.stringify(right))
  }
  t.strictSame(found('FROM a\nCOPY x.md ./y /\n', ['*.md']), ['CopyIgnoredFile 2'])
  t.strictSame(found('FROM a\nCOPY x.md /\n', ['*.md', '!x.md']), [])
  const covered = new Set([...cases.flatMap(c => c[1].map(f => f.split(' ')[0])), 'CopyIgnoredFile'])
  t.strictSame(
    Object.keys(RULES).filter(rule => !covered.has(rule)),
    [],
    'every rule has a case',
  )
})

t.test('what a base image sets is known only if the image is', async t => {
  const file = parseDockerfile('FROM node\nCOPY $NODE_VERSION /\n')
  t.strictSame(lint(file).findings, [])
  t.equal(lint(file, undefined, () => ['PATH']).findings.length, 1)
  t.strictSame(lint(file, undefined, () => ['NODE_VERSION']).findings, [])
  t.equal(lint(parseDockerfile('FROM scratch\nCOPY $NODE_VERSION /\n')).findings.length, 1)
})

t.test('# check= skips rules and makes findings fail', async t => {
  const text = 'FROM a\nMAINTAINER me\nCMD x\n'
  t.strictSame(found(`# check=skip=MaintainerDeprecated\n${text}`), ['JSONArgsRecommended 4'])
  t.strictSame(found(`# check=skip=all\n${text}`), [])
  t.equal(lint(parseDockerfile(`# check=error=true\n${text}`)).fails, true)
  t.equal(lint(parseDockerfile(text)).fails, false)
  t.throws(() => found(`# check=nonsense=1\n${text}`), { code: 'DIRECTIVE' })
})
