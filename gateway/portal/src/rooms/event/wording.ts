// An event's rules in words. The service writes them in Chinese; English is written here from the tree.
import type { Comparison, Condition, Definition, EventExpression, EventRule } from "../../api/types";
import { seconds } from "../../format/time";
import type { Language } from "../../i18n";
import type { Texts } from "../../i18n/zh";

const LONG_LIST = 4;

export function inWords(definition: Definition, language: Language, t: Texts): string {
  if (language === "zh" && definition.expressionText) return definition.expressionText;
  return expression(definition.expression, t) || "–";
}

/** The sources an expression uses, each once. */
export function sourcesOf(e: EventExpression | undefined): string[] {
  if (!e) return [];
  if (e.rule) return [e.rule.source];
  const below = (e.allOf ?? e.anyOf)?.expressions ?? [];
  return [...new Set(below.flatMap(sourcesOf))];
}

function expression(e: EventExpression, t: Texts): string {
  if (e.rule) return rule(e.rule, t);
  const joined = (e.allOf ?? e.anyOf)?.expressions.map((below) => expression(below, t)) ?? [];
  const text = joined.join(e.allOf ? " AND " : " OR ");
  return joined.length > 1 ? `(${text})` : text;
}

function rule(r: EventRule, t: Texts): string {
  const parts = [t.words.source[r.source] ?? r.source];
  const within = r.condition ? condition(r.condition, t) : "";
  if (within) parts.push(`: ${within}`);
  if (r.dwellSeconds > 0) parts.push(`, stays ${seconds(r.dwellSeconds)}`);
  if (r.count > 1) parts.push(`, ${r.count} times in ${seconds(r.windowSeconds)}`);
  return parts.join("");
}

function condition(c: Condition, t: Texts): string {
  if (c.comparison) return comparison(c.comparison, t);
  if (c.not) return `not (${condition(c.not, t)})`;
  if (c.membership) return `member of ${c.membership.set}`;
  const below = (c.allOf ?? c.anyOf)?.conditions.map((one) => condition(one, t)) ?? [];
  const text = below.join(c.allOf ? " and " : " or ");
  return below.length > 1 ? `(${text})` : text;
}

function comparison(c: Comparison, t: Texts): string {
  const values = c.values.map((v) => String(v.number ?? v.text ?? v.flag ?? v.date ?? v.id ?? ""));
  const shown =
    values.length > LONG_LIST ? `${values.length} values` : values.join(c.operator === "OPERATOR_BETWEEN" ? " – " : ", ");
  return `${c.field.replaceAll("_", " ")} ${t.words.operator[c.operator] ?? c.operator} ${shown}`.trim();
}
