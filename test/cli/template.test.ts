import t from 'tap'
import { compileTemplate } from '../../lib/cli/template.js'
import { printFormatted } from '../../lib/cli/format.js'

const value = {
  ID: 'abc123',
  Name: 'web',
  State: { Running: true, ExitCode: 0, Error: '' },
  Ports: [
    { Host: 8080, Container: 80 },
    { Host: 8443, Container: 443 },
  ],
  Labels: { tier: 'front', 'a.b': 'x' },
  Env: ['A=1', 'B=2'],
  Empty: [] as string[],
  Nothing: null,
}

t.test('templates give what Go’s text/template gives', async t => {
  for (const [template, expected] of [
    ['{{.Name}}', 'web'],
    ['{{ .ID }}: {{ .State.Running }}', 'abc123: true'],
    ['{{.ID}}\\t{{.Name}}\\n', 'abc123\tweb\n'],
    ['{{json .State}}', '{"Running":true,"ExitCode":0,"Error":""}'],
    ['{{.State.ExitCode | json}}', '0'],
    ['{{join .Env ", "}}', 'A=1, B=2'],
    ['{{.Env}} {{.Labels}} {{.Nothing}}', '[A=1 B=2] map[a.b:x tier:front] <no value>'],
    ['{{index .Labels "a.b"}}{{index .Env 1}}', 'xB=2'],
    ['{{(index .Ports 0).Host}}', '8080'],
    ['{{range .Ports}}{{.Host}}->{{.Container}};{{end}}', '8080->80;8443->443;'],
    ['{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}', 'a.b=x tier=front '],
    ['{{range $i, $p := .Ports}}{{$i}}:{{$p.Host}} {{end}}', '0:8080 1:8443 '],
    ['{{range $p := .Ports}}{{$p.Host}},{{end}}', '8080,8443,'],
    ['{{range .Empty}}x{{else}}none{{end}}', 'none'],
    ['{{if .State.Running}}up{{else}}down{{end}}', 'up'],
    ['{{if .State.Error}}a{{else if eq .State.ExitCode 0}}b{{else}}c{{end}}!', 'b!'],
    ['{{if and .State.Running (not .State.Error)}}fine{{end}}', 'fine'],
    ['{{if or .State.Error .Empty}}y{{else}}n{{end}}', 'n'],
    ['{{with .State}}{{.ExitCode}} {{$.Name}}{{end}}', '0 web'],
    ['{{$n := .Name}}{{upper $n}} {{len .Env}}', 'WEB 2'],
    ['{{printf "%-6s|%3d|%q" .Name .State.ExitCode .ID}}', 'web   |  0|"abc123"'],
    ['{{eq .Name "web" "db"}} {{ne .Name `web`}} {{lt 1 2}}', 'true false true'],
    ['{{if eq .Name .ID}}same{{else}}other{{end}}', 'other'],
    ['a {{- .Name -}} b', 'awebb'],
    ['{{/* a comment */}}x', 'x'],
    ['{{"}}"}}', '}}'],
    ['{{len (split "a,b,c" ",")}}', '3'],
  ] as const)
    t.equal(compileTemplate(template)(value), expected, template)
})

t.test('a wrong template or field is named', async t => {
  for (const [template, message] of [
    ['{{.Nam}}', /there is no field \.Nam \(there are ID, Name/],
    ['{{.Name.X}}', /there is no field \.X$/],
    ['{{.Name', /\{\{ without \}\}/],
    ['{{if .Name}}x', /\{\{end\}\} is missing/],
    ['x{{end}}', /\{\{end\}\} without a block/],
    ['{{nope .Name}}', /unknown function 'nope'/],
    ['{{.Name | .ID}}', /'\.ID' is no function/],
    ['{{$x}}', /undefined variable \$x/],
    ['{{(.Name}}', /\) is missing/],
    ['{{.Name ?}}', /cannot read '\?'/],
    ['{{.toString}}', /there is no field/],
  ] as const)
    t.throws(() => compileTemplate(template)(value), { code: 'USAGE', message }, template)
})

t.test('listings print by template, as a table with headings, or JSON lines', async t => {
  const rows = [
    { ID: 'a', CreatedAt: 'now' },
    { ID: 'bb\u001b', CreatedAt: 'then' },
  ]
  const print = (format: string) => {
    let text = ''
    printFormatted({ write: chunk => ((text += chunk.toString()), true) }, rows, format, { ID: 'IMAGE ID' })
    return text
  }
  t.equal(print('{{.ID}}'), 'a\nbb\\x1b\n')
  t.equal(print('table {{.ID}}\\t{{.CreatedAt}}'), 'IMAGE ID   CREATED AT\na          now\nbb\\x1b     then\n')
  t.equal(print('json'), '{"ID":"a","CreatedAt":"now"}\n{"ID":"bb\\u001b","CreatedAt":"then"}\n')
  t.throws(() => print(''), { code: 'USAGE' })
})
