/**
 * Dockerfiles that are built here and by buildah (Debian's 1.28), whose results must be the same. Only what that version
 * knows is in it: here-documents, --link, --parents, --exclude have their own tests.
 * `tiny` is the base of tiny-base.ts.
 */
export interface Sample {
  readonly name: string
  readonly text: string
  readonly args?: readonly string[]
  readonly target?: string
  /** In `npm test`; the others in the long run. */
  readonly quick?: true
  /** What buildah does otherwise, and why we follow the reference implementation. */
  readonly differs?: { readonly what: 'tree' | 'config'; readonly because: string }
}

/** Files of the context that all samples share. */
export const context = {
  'a.txt': 'a\n',
  'b.txt': 'b\n',
  'c.md': 'c\n',
  '.hidden': 'h\n',
  'name with space': 's\n',
  empty: '',
  dir: { 'x.txt': 'x\n', 'y.md': 'y\n', sub: { 'z.txt': 'z\n', deep: { w: 'w\n' } }, hollow: {} },
  other: { 'x.txt': 'other x\n', n: 'n\n' },
  ignored: { big: 'big\n', keep: 'keep\n' },
  '.dockerignore': 'ignored\n!ignored/keep\n**/*.log\n',
  'build.log': 'log\n',
}

export const corpus: readonly Sample[] = [
  // COPY
  { name: 'copy a file', text: 'FROM scratch\nCOPY a.txt /a.txt\n' },
  { name: 'copy a file into a new directory', text: 'FROM scratch\nCOPY a.txt /new/dir/\n' },
  { name: 'copy a file under another name', text: 'FROM scratch\nCOPY a.txt /x/y/z\n' },
  { name: 'copy several files', text: 'FROM scratch\nCOPY a.txt b.txt /d/\n' },
  { name: 'copy a directory', text: 'FROM scratch\nCOPY dir /d\n', quick: true },
  { name: 'copy a directory with a slash', text: 'FROM scratch\nCOPY dir/ /d/\n' },
  { name: 'copy everything', text: 'FROM scratch\nCOPY . /all/\n', quick: true },
  { name: 'copy to the root', text: 'FROM scratch\nCOPY dir /\n' },
  { name: 'copy two directories into one', text: 'FROM scratch\nCOPY dir other /d/\n' },
  { name: 'copy over an earlier copy', text: 'FROM scratch\nCOPY dir /d\nCOPY other /d\n' },
  { name: 'copy wildcards', text: 'FROM scratch\nCOPY *.txt /t/\nCOPY d*/?.md /m/\nCOPY [ab].txt /ab/\n' },
  { name: 'copy JSON form', text: 'FROM scratch\nCOPY ["name with space", "a.txt", "/with space/"]\n' },
  { name: 'copy with a variable', text: 'FROM scratch\nARG F=a\nENV D=/dest\nCOPY ${F}.txt $D/$F\n' },
  {
    name: 'copy relative to workdir',
    text: 'FROM scratch\nWORKDIR /w/x\nCOPY a.txt .\nCOPY b.txt sub/\nCOPY c.md ../up\n',
  },
  { name: 'copy --chown by number', text: 'FROM scratch\nCOPY --chown=5:6 a.txt /a\nCOPY --chown=7:8 dir /d\n' },
  { name: 'copy --chown by name', text: 'FROM tiny\nCOPY --chown=app:extra a.txt /a\nCOPY --chown=app dir /d\n' },
  { name: 'copy --chmod', text: 'FROM scratch\nCOPY --chmod=0640 a.txt b.txt /d/\n' },
  { name: 'copy an empty file and hidden ones', text: 'FROM scratch\nCOPY empty .hidden /d/\n' },
  { name: 'copy what the ignore file leaves in', text: 'FROM scratch\nCOPY ignored /i\n' },
  { name: 'copy into a directory of the base', text: 'FROM tiny\nCOPY a.txt /etc\nCOPY b.txt /tmp/\n' },
  { name: 'copy over a file of the base', text: 'FROM tiny\nCOPY a.txt /etc/group\n' },
  // ADD
  { name: 'add files', text: 'FROM scratch\nADD a.txt dir /d/\n' },
  { name: 'add an archive', text: 'FROM scratch\nADD archive.tar /un/\nADD archive.tar.gz /gz\n', quick: true },
  { name: 'add a compressed file that is no archive', text: 'FROM scratch\nADD plain.gz /p/\n' },
  { name: 'copy an archive as it is', text: 'FROM scratch\nCOPY archive.tar /a.tar\n' },
  { name: 'add --chown', text: 'FROM scratch\nADD --chown=3:4 a.txt /a\n' },
  // ENV, ARG, expansion
  {
    name: 'env forms',
    text: 'FROM scratch\nENV A=1 B="two words" C=\'si ngle\' D=es\\ caped\nENV OLD the old form\nENV E=\nCOPY a.txt /\n',
  },
  {
    name: 'env uses the values from before',
    text: 'FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n',
    quick: true,
  },
  {
    name: 'expansion :- and :+',
    text: 'FROM scratch\nENV S=set E=\nENV A=${S:-x} B=${N:-x} C=${S:+y} D=${N:+y} F=${E:-z}\n',
  },
  {
    name: 'expansion quotes and escapes',
    text: 'FROM scratch\nENV V=v\nENV A=\\$V B="\\$V" C=\'$V\' D="${V}s" E=$V/$V\n',
  },
  { name: 'arg default and given', text: 'FROM scratch\nARG A=1\nARG B=2\nENV X=$A Y=$B\n', args: ['B=given'] },
  { name: 'arg before from', text: 'ARG BASE=tiny\nARG V=1\nFROM $BASE\nARG V\nENV X=$V\n' },
  { name: 'arg is not env', text: 'FROM tiny\nARG A=1\nRUN echo "$A" > /a\nENV A=2\nRUN echo "$A" > /b\n' },
  { name: 'arg in one stage only', text: 'FROM tiny AS one\nARG A=1\nFROM one\nRUN echo "[$A]" > /a\n' },
  // the config
  { name: 'label forms', text: 'FROM scratch\nLABEL a=1 "b c"=2 d="e f"\nLABEL old form of it\nLABEL a=3\n' },
  { name: 'expose', text: 'FROM scratch\nENV P=9000\nEXPOSE 80 443/tcp 53/udp $P\n' },
  { name: 'volume', text: 'FROM scratch\nVOLUME /a /b\nVOLUME ["/c", "/d e"]\n' },
  {
    name: 'user and workdir',
    text: 'FROM tiny\nUSER app\nWORKDIR /w\nWORKDIR rel\nENV X=y\nWORKDIR $X\n',
    differs: { what: 'tree', because: 'it makes a WORKDIR only when a RUN follows' },
  },
  { name: 'cmd exec', text: 'FROM scratch\nCMD ["a", "b c"]\n' },
  { name: 'cmd shell', text: 'FROM scratch\nCMD echo "$HOME" | cat\n' },
  { name: 'entrypoint and cmd', text: 'FROM scratch\nENTRYPOINT ["/e"]\nCMD ["-v"]\n', quick: true },
  { name: 'entrypoint shell', text: 'FROM scratch\nENTRYPOINT exec top -b\n' },
  { name: 'entrypoint after cmd', text: 'FROM scratch\nCMD ["c"]\nENTRYPOINT ["e"]\n' },
  { name: 'cmd twice', text: 'FROM scratch\nCMD ["one"]\nCMD ["two"]\n' },
  {
    name: 'shell',
    text: 'FROM tiny\nSHELL ["/bin/sh", "-e", "-c"]\nRUN echo x > /x\nCMD y\n',
    differs: { what: 'config', because: 'it leaves SHELL out of the shell form of CMD' },
  },
  { name: 'stopsignal', text: 'FROM scratch\nSTOPSIGNAL SIGINT\n' },
  {
    name: 'healthcheck',
    text: 'FROM scratch\nHEALTHCHECK --interval=30s --timeout=5s --start-period=1m --retries=2 CMD check it\n',
  },
  { name: 'healthcheck exec', text: 'FROM scratch\nHEALTHCHECK CMD ["check", "it"]\n' },
  { name: 'healthcheck none', text: 'FROM scratch\nHEALTHCHECK NONE\n' },
  { name: 'maintainer', text: 'FROM scratch\nMAINTAINER Jane <j@example.org>\nCOPY a.txt /\n' },
  { name: 'onbuild', text: 'FROM scratch\nONBUILD COPY a.txt /\nONBUILD RUN make\n' },
  // RUN
  { name: 'run shell', text: 'FROM tiny\nRUN echo hello > /hello\n', quick: true },
  { name: 'run exec', text: 'FROM tiny\nRUN ["/bin/sh", "-c", "echo exec > /exec"]\n' },
  {
    name: 'run several lines',
    text: 'FROM tiny\nRUN echo a > /a && \\\n    # between\n    echo b > /b && \\\n    mkdir /c\n',
  },
  {
    name: 'run as a user',
    text: 'FROM tiny\nRUN mkdir /w && chown app /w\nUSER app\nWORKDIR /w\nRUN id > id; echo "$HOME" > home; pwd > pwd\n',
    quick: true,
  },
  { name: 'run by number', text: 'FROM tiny\nRUN mkdir -m 777 /w\nUSER 12:34\nRUN id -u > /w/u; id -g > /w/g\n' },
  { name: 'run removes what is below', text: 'FROM tiny\nCOPY dir /d\nRUN rm -r /d/sub /etc/group\n' },
  { name: 'run replaces a directory', text: 'FROM tiny\nCOPY dir /d\nRUN rm -r /d && mkdir /d && echo new > /d/new\n' },
  {
    name: 'run renames',
    text: 'FROM tiny\nCOPY dir /d\nRUN mv /d /e && mv /e/x.txt /x && ln -s x /l && ln /x /hard\n',
    quick: true,
  },
  {
    name: 'run changes modes and owners',
    text: 'FROM tiny\nCOPY dir /d\nRUN chmod 4755 /d/x.txt && chown 9:9 /d/sub && chmod 1777 /d\n',
  },
  { name: 'run with env and path', text: 'FROM tiny\nENV PATH=/bin:/extra X=1\nRUN echo "$PATH $X" > /p\n' },
  { name: 'run --mount=type=tmpfs', text: 'FROM tiny\nRUN --mount=type=tmpfs,target=/t echo x > /t/x && ls /t > /l\n' },
  {
    name: 'run --mount=type=cache',
    text: 'FROM tiny\nRUN --mount=type=cache,target=/c echo x > /c/x\nRUN ls / > /l; rm /l\n',
  },
  {
    name: 'run --mount=type=bind from a stage',
    text: 'FROM tiny AS s\nRUN echo made > /made\nFROM tiny\nRUN --mount=type=bind,from=s,target=/s cat /s/made > /copy\n',
  },
  // stages
  {
    name: 'two stages',
    text: 'FROM tiny AS build\nRUN echo built > /out\nFROM scratch\nCOPY --from=build /out /bin/\n',
    quick: true,
  },
  {
    name: 'copy --from by number, with wildcard',
    text: 'FROM scratch\nCOPY dir /d\nFROM scratch\nCOPY --from=0 /d/*.txt /t/\n',
  },
  {
    name: 'copy --from keeps owners',
    text: 'FROM scratch AS s\nCOPY --chown=5:6 dir /d\nFROM scratch\nCOPY --from=s /d /e\n',
    differs: {
      what: 'tree',
      because: 'it gives a directory made for the copy to root, not to the owner of the source',
    },
  },
  {
    name: 'copy --from --chown',
    text: 'FROM scratch AS s\nCOPY --chown=5:6 dir /d\nFROM scratch\nCOPY --from=s --chown=0:0 /d /e\n',
  },
  { name: 'copy --from an image', text: 'FROM scratch\nCOPY --from=tiny /etc/passwd /p\n' },
  {
    name: 'a stage on a stage',
    text: 'FROM scratch AS a\nENV A=1\nCOPY a.txt /a\nWORKDIR /w\nFROM a AS b\nENV B=$A\nCOPY b.txt b\n',
  },
  { name: 'a target', text: 'FROM scratch AS a\nCOPY a.txt /a\nFROM scratch AS b\nCOPY b.txt /b\n', target: 'a' },
  {
    name: 'links copied from a stage',
    text: 'FROM tiny AS s\nRUN mkdir /d && echo x > /d/x && ln -s x /d/l && ln /d/x /d/h\nFROM scratch\nCOPY --from=s /d /e\n',
  },
  // syntax
  {
    name: 'escape directive',
    text: '# escape=`\nFROM scratch\nENV A=`$x B="c:\\d"\nCOPY a.txt `\n  b.txt /d/\n',
    differs: { what: 'config', because: 'it does not let the other escape character escape a variable' },
  },
  {
    name: 'comments and lower case',
    text: '# c\nfrom scratch\n  # indented\ncopy a.txt /\nenv A=1 \\\n  # inside\n  B=2\n',
  },
]
