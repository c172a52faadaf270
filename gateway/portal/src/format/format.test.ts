import { expect, test } from "vitest";
import { count, inUnit, micros, percent, yuan } from "./number";
import { dateTime, day, microsOf, seconds } from "./time";

test("counts come as texts of 64 bits", () => {
  expect(count("1234567")).toBe("1,234,567");
  expect(count(undefined)).toBe("0");
});

test("a share of nothing is a dash, a small one keeps its digits", () => {
  expect([percent("5", "0"), percent(1, 8), percent("3", "1000")]).toEqual(["–", "12.5%", "0.30%"]);
});

test("money is fen on the wire and yuan on the page", () => {
  expect([yuan("3800"), inUnit(123456, "fen"), inUnit(0.25, "ratio"), inUnit(1234.5, "subscriber")]).toEqual([
    "38.00",
    "1,234.56",
    "25.0%",
    "1,234.5",
  ]);
});

test("durations in the unit that fits", () => {
  expect([micros("950"), micros("12345"), micros(4_560_000), micros(125_000_000)]).toEqual([
    "950 µs",
    "12.3 ms",
    "4.56 s",
    "2 min 5 s",
  ]);
  expect([seconds(1800), seconds(7200), seconds(45)]).toEqual(["30 min", "2 h", "45 s"]);
});

test("times are shown in the region's zone, across midnight", () => {
  expect(dateTime("2026-03-18T16:30:05Z")).toBe("2026-03-19 00:30");
  expect(dateTime("2026-03-18T16:30:05Z", true)).toBe("2026-03-19 00:30:05");
  expect(day("2026-03-18T15:59:59Z")).toBe("2026-03-18");
  expect(dateTime(undefined)).toBe("–");
});

test("timestamps keep their microseconds", () => {
  const second = Date.parse("2026-03-18T01:00:00Z") * 1000;
  expect(microsOf("2026-03-18T01:00:00.000123456Z")).toBe(second + 123);
  expect(microsOf("2026-03-18T01:00:00.5Z") - microsOf("2026-03-18T01:00:00Z")).toBe(500_000);
});
