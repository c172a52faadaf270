import { expect, test } from "vitest";
import type { Tag } from "../../api/types";
import { complete, conditionOf, rowOf } from "./selection";

const tag = (code: string, type: string): Tag => ({
  name: `tags/${code}`, code, displayName: code, displayNameEn: "", tagClass: "TAG_CLASS_BEHAVIOUR", category: "",
  type, unit: "", frequency: "FREQUENCY_MONTH", description: "", values: [], dataDates: [], usageCount: "0",
});

test("bounds are open or closed as chosen", () => {
  const spend = { ...rowOf(tag("monthly_spend", "TAG_TYPE_NUMBER")), lower: "28", upper: "38", lowerOpen: true, upperOpen: true };
  const traffic = { ...rowOf(tag("monthly_traffic", "TAG_TYPE_NUMBER")), lower: "200", upper: "300" };
  expect(conditionOf([spend, traffic])).toEqual({
    allOf: {
      conditions: [
        {
          comparison: {
            field: "monthly_spend", operator: "OPERATOR_BETWEEN", values: [{ number: 28 }, { number: 38 }],
            lowerOpen: true, upperOpen: true,
          },
        },
        {
          comparison: {
            field: "monthly_traffic", operator: "OPERATOR_BETWEEN", values: [{ number: 200 }, { number: 300 }],
            lowerOpen: false, upperOpen: false,
          },
        },
      ],
    },
  });
});

test("no row means everybody", () => expect(conditionOf([])).toBeUndefined());

test("a row without its values cannot be asked", () => {
  const row = rowOf(tag("monthly_spend", "TAG_TYPE_NUMBER"));
  expect(complete(row)).toBe(false);
  expect(complete({ ...row, lower: "1", upper: "x" })).toBe(false);
  expect(complete({ ...row, operator: "OPERATOR_EXISTS" })).toBe(true);
  expect(complete(rowOf(tag("is_4g", "TAG_TYPE_FLAG")))).toBe(true);
});
