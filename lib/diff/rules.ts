/**
 * Owns `lamina ci`: rules for an image, judging an account by them, and JUnit's form of the verdicts.
 * Formats: YAML `rules:` with dive's names (`lowestEfficiency`, `highestWastedBytes`, `highestUserWastedPercent`); a value
 * `disabled` turns a rule off; sizes are `20MB` (powers of 1000) or `20MiB` (1024), ratios are 0 to 1.
 * Invariant: a rule that cannot be read is an error, never a pass.
 */
import * as v from 'valibot'
import { parse as parseYaml } from 'yaml'
import type { Analysis } from './analysis.js'

export class RulesError extends Error {
  override readonly name = 'RulesError'
  readonly code = 'CI_RULES_INVALID'
}

export interface Rules {
  /** undefined: the rule is off. */
  readonly lowestEfficiency: number | undefined
  readonly highestWastedBytes: number | undefined
  readonly highestUserWastedPercent: number | undefined
}

/** dive's defaults. */
export const DEFAULT_RULES: Rules = {
  lowestEfficiency: 0.9,
  highestWastedBytes: undefined,
  highestUserWastedPercent: 0.1,
}

const value = v.union([v.number(), v.string(), v.null()])
const schema = v.object({
  rules: v.optional(
    v.nullable(
      v.strictObject({
        lowestEfficiency: v.optional(value),
        highestWastedBytes: v.optional(value),
        highestUserWastedPercent: v.optional(value),
      }),
    ),
  ),
})

/** Reads a rules file. `name` is for messages. Throws RulesError. */
export function parseRules(text: string, name: string): Rules {
  let document: unknown
  try {
    document = parseYaml(text) ?? {}
  } catch (error) {
    throw new RulesError(`read ${name}: ${(error as Error).message.split('\n', 1)[0] ?? ''}`)
  }
  const checked = v.safeParse(schema, document)
  if (!checked.success) {
    const [issue] = checked.issues
    throw new RulesError(`read ${name}: ${v.getDotPath(issue) ?? 'document'}: ${issue.message}`)
  }
  return withRules(DEFAULT_RULES, checked.output.rules ?? {}, name)
}

/** `base` with some rules replaced, by values as files and options write them. Throws RulesError. */
export function withRules(
  base: Rules,
  values: { readonly [K in keyof Rules]?: string | number | null | undefined },
  name: string,
): Rules {
  const one = (key: keyof Rules, read: (text: string) => number | undefined): number | undefined => {
    const given = values[key]
    if (given === undefined) return base[key]
    if (given === null || String(given).trim().toLowerCase() === 'disabled') return undefined
    const found = read(String(given).trim())
    if (found === undefined) throw new RulesError(`read ${name}: ${key}: ${JSON.stringify(given)} is no such value`)
    return found
  }
  return {
    lowestEfficiency: one('lowestEfficiency', ratio),
    highestWastedBytes: one('highestWastedBytes', bytes),
    highestUserWastedPercent: one('highestUserWastedPercent', ratio),
  }
}

function ratio(text: string): number | undefined {
  const number = Number(text)
  return text !== '' && number >= 0 && number <= 1 ? number : undefined
}

function bytes(text: string): number | undefined {
  const m = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?$/i.exec(text)
  if (m === null) return undefined
  return Math.floor(Number(m[1]) * (m[3] === '' ? 1000 : 1024) ** ' kmgtp'.indexOf((m[2] || ' ').toLowerCase()))
}

export interface Verdict {
  readonly rule: keyof Rules
  readonly outcome: 'pass' | 'fail' | 'skip'
  /** What was found, against what was asked. */
  readonly message: string
}

/** Share of the bytes above the base layer that is wasted; 0 when there are none. */
export function userWasted(analysis: Analysis): number {
  return analysis.userBytes === 0 ? 0 : analysis.wastedBytes / analysis.userBytes
}

/** Judges an image. */
export function judge(analysis: Analysis, rules: Rules): Verdict[] {
  const verdict = (rule: keyof Rules, found: number, ok: (limit: number) => boolean, words: string): Verdict => {
    const limit = rules[rule]
    if (limit === undefined) return { rule, outcome: 'skip', message: `${words} ${show(found)}, rule disabled` }
    const sign = rule === 'lowestEfficiency' ? 'at least' : 'at most'
    return {
      rule,
      outcome: ok(limit) ? 'pass' : 'fail',
      message: `${words} ${show(found)}, ${sign} ${show(limit)} asked`,
    }
  }
  return [
    verdict('lowestEfficiency', analysis.efficiency, limit => analysis.efficiency >= limit, 'efficiency'),
    verdict('highestWastedBytes', analysis.wastedBytes, limit => analysis.wastedBytes <= limit, 'wasted bytes'),
    verdict('highestUserWastedPercent', userWasted(analysis), limit => userWasted(analysis) <= limit, 'wasted share'),
  ]
}

function show(n: number): string {
  return Number.isInteger(n) && n > 1 ? String(n) : String(Math.round(n * 10000) / 10000)
}

/** JUnit XML, as CI servers read it. */
export function junit(image: string, verdicts: readonly Verdict[]): string {
  const failures = verdicts.filter(x => x.outcome === 'fail').length
  const skipped = verdicts.filter(x => x.outcome === 'skip').length
  const cases = verdicts.map(({ rule, outcome, message }) => {
    const inner =
      outcome === 'fail'
        ? `<failure message="${xml(message)}"/>`
        : outcome === 'skip'
          ? `<skipped message="${xml(message)}"/>`
          : `<system-out>${xml(message)}</system-out>`
    return `    <testcase classname="lamina.ci" name="${rule}">${inner}</testcase>`
  })
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<testsuites>',
    `  <testsuite name="lamina ci ${xml(image)}" tests="${verdicts.length}" failures="${failures}" skipped="${skipped}">`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

/** Text for XML: special characters as references, what XML 1.0 forbids as U+FFFD. */
function xml(text: string): string {
  // eslint-disable-next-line no-control-regex
  const legal = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
  return legal.replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`)
}
