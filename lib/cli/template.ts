/**
 * Owns `--format`: the part of Go's text/template that people use with docker and podman.
 * Format: text with `{{ }}` actions: fields `.A.B`, variables `$x`, literals, functions, pipelines `|`, parentheses,
 * `if/else if/else`, `range [$k, $v :=]`, `with`, `end`, comments, `{{-` and `-}}`; `\t` and `\n` in the text as docker has them.
 * Invariant: a template is checked whole before anything is printed; a field that does not exist is an error, not "".
 */
import { UsageError } from './command.js'
import { functions, text, truthy } from './template-functions.js'

/** Compiles `source`. The result renders one value; it throws UsageError for a field that the value does not have. */
export function compileTemplate(source: string): (value: unknown) => string {
  const parser = new Parser(source)
  const body = parser.block([])
  return value => {
    const out: string[] = []
    run(body, { dot: value, variables: new Map([['$', value]]) }, out)
    return out.join('')
  }
}

type Expression =
  | { readonly kind: 'literal'; readonly value: unknown }
  | { readonly kind: 'path'; readonly from: Expression | undefined; readonly names: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] }

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly value: Expression }
  | { readonly kind: 'assign'; readonly name: string; readonly value: Expression }
  | { readonly kind: 'if' | 'with'; readonly value: Expression; readonly body: Node[]; readonly otherwise: Node[] }
  | {
      readonly kind: 'range'
      readonly value: Expression
      readonly key: string | undefined
      readonly item: string | undefined
      readonly body: Node[]
      readonly otherwise: Node[]
    }

interface Scope {
  readonly dot: unknown
  readonly variables: Map<string, unknown>
}

function run(nodes: readonly Node[], scope: Scope, out: string[]): void {
  for (const node of nodes)
    switch (node.kind) {
      case 'text':
        out.push(node.text)
        break
      case 'print':
        out.push(text(evaluate(node.value, scope)))
        break
      case 'assign':
        scope.variables.set(node.name, evaluate(node.value, scope))
        break
      case 'if':
        run(truthy(evaluate(node.value, scope)) ? node.body : node.otherwise, inner(scope), out)
        break
      case 'with': {
        const value = evaluate(node.value, scope)
        if (truthy(value)) run(node.body, inner(scope, value), out)
        else run(node.otherwise, inner(scope), out)
        break
      }
      case 'range':
        range(node, scope, out)
    }
}

function range(node: Extract<Node, { kind: 'range' }>, scope: Scope, out: string[]): void {
  const value = evaluate(node.value, scope)
  const entries: [unknown, unknown][] = Array.isArray(value)
    ? value.map((item: unknown, i) => [i, item])
    : Object.entries((value ?? {}) as object).sort(([a], [b]) => (a < b ? -1 : 1))
  if (entries.length === 0) run(node.otherwise, inner(scope), out)
  for (const [key, item] of entries) {
    const within = inner(scope, item)
    if (node.key !== undefined) within.variables.set(node.key, key)
    if (node.item !== undefined) within.variables.set(node.item, item)
    run(node.body, within, out)
  }
}

function inner(scope: Scope, dot: unknown = scope.dot): Scope {
  return { dot, variables: new Map(scope.variables) }
}

function evaluate(expression: Expression, scope: Scope): unknown {
  switch (expression.kind) {
    case 'literal':
      return expression.value
    case 'variable':
      if (!scope.variables.has(expression.name)) throw new UsageError(`format: undefined variable ${expression.name}`)
      return scope.variables.get(expression.name)
    case 'path': {
      let value = expression.from === undefined ? scope.dot : evaluate(expression.from, scope)
      for (const name of expression.names) value = field(value, name)
      return value
    }
    case 'call': {
      const { name, args } = expression
      // and, or stop at the first argument that decides, as in Go.
      if (name === 'and' || name === 'or') {
        let last: unknown
        for (const arg of args) if (truthy((last = evaluate(arg, scope))) === (name === 'or')) return last
        return last
      }
      return (functions.get(name) as (...given: unknown[]) => unknown)(...args.map(arg => evaluate(arg, scope)))
    }
  }
}

function field(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return undefined
  if (typeof value === 'object' && Object.hasOwn(value, name)) return (value as Record<string, unknown>)[name]
  const known = typeof value === 'object' && !Array.isArray(value) ? Object.keys(value) : []
  throw new UsageError(
    `format: there is no field .${name}${known.length > 0 ? ` (there are ${known.join(', ')})` : ''}`,
  )
}

const ACTION = /\{\{(- )?((?:"(?:\\.|[^"\\])*"|`[^`]*`|(?!-?\}\})[^"`])*)( -)?\}\}/gs
const TOKEN = /\s*("(?:\\.|[^"\\])*"|`[^`]*`|-?\d+(?:\.\d+)?|\$\w*(?:\.\w[\w-]*)*|(?:\.\w[\w-]*)+|\.|[()|,]|:=|=|\w+)/gy

class Parser {
  readonly #pieces: ({ readonly text: string } | { readonly action: string })[] = []
  #at = 0

  constructor(source: string) {
    let last = 0
    let trim = false
    for (const match of source.matchAll(ACTION)) {
      this.#text(source.slice(last, match.index), trim, match[1] !== undefined)
      const action = (match[2] as string).trim()
      if (!action.startsWith('/*')) this.#pieces.push({ action })
      last = match.index + match[0].length
      trim = match[3] !== undefined
    }
    this.#text(source.slice(last), trim, false)
    if (source.slice(last).includes('{{')) throw new UsageError('format: {{ without }}')
  }

  #text(raw: string, trimStart: boolean, trimEnd: boolean): void {
    let plain = raw.replaceAll('\\t', '\t').replaceAll('\\n', '\n')
    if (trimStart) plain = plain.trimStart()
    if (trimEnd) plain = plain.trimEnd()
    if (plain !== '') this.#pieces.push({ text: plain })
  }

  /** Nodes up to one of the words that end a block; at the top there is none. */
  block(ends: readonly string[]): Node[] {
    const nodes: Node[] = []
    for (; this.#at < this.#pieces.length; this.#at++) {
      const piece = this.#pieces[this.#at] as { text?: string; action?: string }
      if (piece.action === undefined) {
        nodes.push({ kind: 'text', text: piece.text ?? '' })
        continue
      }
      const word = /^\w+/.exec(piece.action)?.[0] ?? ''
      if (word === 'end' || word === 'else') {
        if (ends.includes(word)) return nodes
        throw new UsageError(`format: {{${word}}} without a block`)
      }
      nodes.push(this.#node(word, piece.action))
    }
    if (ends.length > 0) throw new UsageError('format: {{end}} is missing')
    return nodes
  }

  #node(word: string, action: string): Node {
    if (word === 'if' || word === 'with') return this.#branches(word, action.slice(word.length))
    if (word === 'range') {
      const match = /^range\s+(?:(\$\w+)\s*(?:,\s*(\$\w+)\s*)?:=)?(.*)$/s.exec(action)
      const [, first, second, rest = ''] = match ?? []
      const value = parseExpression(rest)
      const { body, otherwise } = this.#bodies()
      const [key, item] = second === undefined ? [undefined, first] : [first, second]
      return { kind: 'range', value, key, item, body, otherwise }
    }
    const assign = /^(\$\w+)\s*:?=(.*)$/s.exec(action)
    if (assign !== null)
      return { kind: 'assign', name: assign[1] as string, value: parseExpression(assign[2] as string) }
    return { kind: 'print', value: parseExpression(action) }
  }

  #branches(kind: 'if' | 'with', condition: string): Node {
    const value = parseExpression(condition)
    const { body, otherwise } = this.#bodies()
    return { kind, value, body, otherwise }
  }

  /** The bodies of the block opened at #at; afterwards #at is at its {{end}}. */
  #bodies(): { body: Node[]; otherwise: Node[] } {
    this.#at++
    const body = this.block(['end', 'else'])
    const action = this.#action()
    if (action === 'end') return { body, otherwise: [] }
    const chained = /^else\s+if\b(.*)$/s.exec(action)
    // `else if` is an if inside the else, and shares its {{end}}.
    if (chained !== null) return { body, otherwise: [this.#branches('if', chained[1] as string)] }
    this.#at++
    const otherwise = this.block(['end'])
    return { body, otherwise }
  }

  #action(): string {
    return (this.#pieces[this.#at] as { action?: string }).action ?? ''
  }
}

/** `a b (c d) | e` → e(a(b, c(d))). */
function parseExpression(source: string): Expression {
  const tokens: string[] = []
  TOKEN.lastIndex = 0
  for (let end = 0; source.slice(end).trim() !== ''; end = TOKEN.lastIndex) {
    TOKEN.lastIndex = end
    const match = TOKEN.exec(source)
    if (match === null) throw new UsageError(`format: cannot read '${source.slice(end).trim()}'`)
    tokens.push(match[1] as string)
  }
  const reader = new ExpressionReader(tokens)
  const value = reader.pipeline()
  reader.expectEnd(source)
  return value
}

class ExpressionReader {
  readonly #tokens: readonly string[]
  #at = 0

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens
  }

  expectEnd(source: string): void {
    if (this.#at < this.#tokens.length) throw new UsageError(`format: cannot read '${source.trim()}'`)
  }

  pipeline(): Expression {
    let value = this.#command(undefined)
    while (this.#tokens[this.#at] === '|') {
      this.#at++
      value = this.#command(value)
    }
    return value
  }

  #command(piped: Expression | undefined): Expression {
    const first = this.#tokens[this.#at]
    if (first !== undefined && functions.has(first)) {
      this.#at++
      const args: Expression[] = []
      while (this.#at < this.#tokens.length && !['|', ')'].includes(this.#tokens[this.#at] as string))
        args.push(this.#operand())
      if (piped !== undefined) args.push(piped)
      return { kind: 'call', name: first, args }
    }
    if (piped !== undefined) throw new UsageError(`format: '${first ?? ''}' is no function`)
    return this.#operand()
  }

  #operand(): Expression {
    const token = this.#tokens[this.#at++]
    if (token === undefined) throw new UsageError('format: a value is missing')
    let value: Expression
    if (token === '(') {
      value = this.pipeline()
      if (this.#tokens[this.#at++] !== ')') throw new UsageError('format: ) is missing')
    } else if (token.startsWith('"')) value = { kind: 'literal', value: unquote(token) }
    else if (token.startsWith('`')) value = { kind: 'literal', value: token.slice(1, -1) }
    else if (/^-?\d/.test(token)) value = { kind: 'literal', value: Number(token) }
    else if (token.startsWith('$')) {
      const [name = '', ...names] = token.split('.')
      return { kind: 'path', from: { kind: 'variable', name }, names }
    } else if (token === '.') return { kind: 'path', from: undefined, names: [] }
    else if (token.startsWith('.')) return { kind: 'path', from: undefined, names: namesOf(token) }
    else if (token === 'true' || token === 'false') value = { kind: 'literal', value: token === 'true' }
    else if (token === 'nil') value = { kind: 'literal', value: undefined }
    else if (functions.has(token)) value = { kind: 'call', name: token, args: [] }
    else throw new UsageError(`format: unknown function '${token}'`)
    // `(index .A 0).Name`
    const next = this.#tokens[this.#at]
    if (token !== '(' || next?.startsWith('.') !== true || next === '.') return value
    this.#at++
    return { kind: 'path', from: value, names: namesOf(next) }
  }
}

/** `.A.B` → A, B. */
function namesOf(token: string): string[] {
  return token.slice(1).split('.')
}

function unquote(token: string): string {
  try {
    return JSON.parse(token) as string
  } catch {
    throw new UsageError(`format: cannot read ${token}`)
  }
}
