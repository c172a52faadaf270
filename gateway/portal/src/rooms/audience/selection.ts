// Rows of the condition area, and the selection they make.
import type { Comparison, Condition, Tag } from "../../api/types";

export interface Row {
  id: number;
  tag: Tag;
  operator: string;
  /** Texts as typed or chosen. */
  values: string[];
  lower: string;
  upper: string;
  lowerOpen: boolean;
  upperOpen: boolean;
}

let last = 0;

/** Operators that a tag of each type takes, the likeliest first. */
export const OPERATORS: Record<string, string[]> = {
  TAG_TYPE_NUMBER: [
    "OPERATOR_BETWEEN", "OPERATOR_GE", "OPERATOR_GT", "OPERATOR_LE", "OPERATOR_LT", "OPERATOR_EQ", "OPERATOR_NE",
    "OPERATOR_EXISTS", "OPERATOR_NOT_EXISTS",
  ],
  TAG_TYPE_ENUMERATION: ["OPERATOR_IN", "OPERATOR_NOT_IN", "OPERATOR_EQ", "OPERATOR_NE", "OPERATOR_EXISTS", "OPERATOR_NOT_EXISTS"],
  TAG_TYPE_SET: ["OPERATOR_CONTAINS", "OPERATOR_NOT_CONTAINS", "OPERATOR_EXISTS", "OPERATOR_NOT_EXISTS"],
  TAG_TYPE_FLAG: ["OPERATOR_EQ", "OPERATOR_NE", "OPERATOR_EXISTS", "OPERATOR_NOT_EXISTS"],
  TAG_TYPE_DATE: [
    "OPERATOR_BETWEEN", "OPERATOR_GE", "OPERATOR_GT", "OPERATOR_LE", "OPERATOR_LT", "OPERATOR_EQ", "OPERATOR_EXISTS",
    "OPERATOR_NOT_EXISTS",
  ],
  TAG_TYPE_TEXT: ["OPERATOR_CONTAINS", "OPERATOR_NOT_CONTAINS", "OPERATOR_EQ", "OPERATOR_NE", "OPERATOR_EXISTS", "OPERATOR_NOT_EXISTS"],
};

const WITHOUT_VALUE = new Set(["OPERATOR_EXISTS", "OPERATOR_NOT_EXISTS"]);
const MANY = new Set(["OPERATOR_IN", "OPERATOR_NOT_IN", "OPERATOR_CONTAINS", "OPERATOR_NOT_CONTAINS"]);

export const takesValue = (operator: string): boolean => !WITHOUT_VALUE.has(operator);
export const takesMany = (operator: string): boolean => MANY.has(operator);
export const takesBounds = (operator: string): boolean => operator === "OPERATOR_BETWEEN";

export function rowOf(tag: Tag): Row {
  last += 1;
  const operator = OPERATORS[tag.type]?.[0] ?? "OPERATOR_EXISTS";
  return {
    id: last,
    tag,
    operator,
    values: tag.type === "TAG_TYPE_FLAG" ? ["true"] : [],
    lower: "",
    upper: "",
    lowerOpen: false,
    upperOpen: false,
  };
}

const isNumber = (text: string): boolean => text.trim() !== "" && Number.isFinite(Number(text));

/** Whether the row can be asked: every value it needs is there and of the tag's type. */
export function complete(row: Row): boolean {
  if (!takesValue(row.operator)) return true;
  const given = takesBounds(row.operator) ? [row.lower, row.upper] : row.values;
  if (given.length === 0 || given.some((value) => value.trim() === "")) return false;
  return row.tag.type !== "TAG_TYPE_NUMBER" || given.every(isNumber);
}

/** The rows joined by "and"; absent when there is none, which means everybody. */
export function conditionOf(rows: Row[]): Condition | undefined {
  if (rows.length === 0) return undefined;
  return { allOf: { conditions: rows.map((row) => ({ comparison: comparisonOf(row) })) } };
}

export function comparisonOf(row: Row): Comparison {
  const base = { field: row.tag.code, operator: row.operator };
  if (!takesValue(row.operator)) return { ...base, values: [] };
  if (takesBounds(row.operator)) {
    return {
      ...base,
      values: [valueOf(row.tag.type, row.lower), valueOf(row.tag.type, row.upper)],
      lowerOpen: row.lowerOpen,
      upperOpen: row.upperOpen,
    };
  }
  return { ...base, values: row.values.map((value) => valueOf(row.tag.type, value)) };
}

function valueOf(type: string, text: string): Comparison["values"][number] {
  if (type === "TAG_TYPE_NUMBER") return { number: Number(text) };
  if (type === "TAG_TYPE_FLAG") return { flag: text === "true" };
  if (type === "TAG_TYPE_DATE") return { date: text };
  return { text };
}
