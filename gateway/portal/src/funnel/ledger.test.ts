import { describe, expect, test } from "vitest";
import { inTransit, ledgersOf, plannedGap, reached, receivedGap, totalOf } from "./ledger";

const progress = {
  name: "campaigns/a/activities/b",
  activityNumber: 7,
  population: "0",
  touchpoints: [
    {
      touchpoint: "TOUCHPOINT_SMS",
      target: "1000",
      control: "100",
      excluded: [{ reason: "block_list", count: "40" }],
      unplanned: "60",
      handed: "800",
      populationControl: "0",
      populationExcluded: [],
    },
    {
      touchpoint: "TOUCHPOINT_COMP",
      target: "10",
      control: "0",
      excluded: [],
      unplanned: "10",
      handed: "0",
      populationControl: "0",
      populationExcluded: [],
    },
  ],
};
const counters = {
  activityNumber: 7,
  touchpoint: "TOUCHPOINT_SMS",
  received: "750",
  suppressed: [
    { reason: "contact_cap", count: "5" },
    { reason: "opt_out", count: "15" },
    { reason: "minor", count: "0" },
  ],
  waiting: "0",
  held: "10",
  queued: "200",
  leased: "20",
  cancelled: "0",
  settled: [
    { reason: "delivered", count: "450" },
    { reason: "failed", count: "50" },
  ],
  clicks: "3",
  replies: "2",
  imbalance: "0",
};

describe("the conservation law", () => {
  const ledgers = ledgersOf(progress, [{ ...counters, activityNumber: 8 }, counters], []);

  test("joins the counters of the same activity and touchpoint", () => {
    expect(ledgers.map((l) => [l.touchpoint, l.received])).toEqual([
      ["TOUCHPOINT_SMS", 750],
      ["TOUCHPOINT_COMP", 0],
    ]);
  });

  test("balances on both sides, with the rest in transit", () => {
    const [sms] = ledgers;
    if (!sms) throw new Error("no ledger");
    expect([plannedGap(sms), inTransit(sms), receivedGap(sms), reached(sms)]).toEqual([0, 50, 0, 450]);
  });

  test("shows what is missing", () => {
    const lost = ledgersOf(progress, [{ ...counters, queued: "197" }], [])[0];
    if (!lost) throw new Error("no ledger");
    expect(receivedGap(lost)).toBe(3);
  });

  test("sums touchpoints with their reasons, the largest first", () => {
    const total = totalOf([...ledgers, ...ledgers]);
    expect([total.target, total.handed, total.unplanned]).toEqual([2020, 1600, 140]);
    expect(total.suppressed).toEqual([
      { reason: "opt_out", count: 30 },
      { reason: "contact_cap", count: 10 },
    ]);
    expect(plannedGap(total)).toBe(0);
  });

  test("takes orders from the funnel that sums the days", () => {
    const facts = {
      activityNumber: 7, touchpoint: "TOUCHPOINT_SMS", suppressed: [], settled: [], reached: "450", clicks: "3",
      replies: "2", optOuts: "1", orders: "9", orderFen: "34200",
    };
    const found = ledgersOf(progress, [counters], [{ ...facts, date: "2026-09-16", orders: "4" }, { ...facts, date: "" }]);
    expect([found[0]?.orders, found[0]?.orderFen, found[0]?.optOuts]).toEqual([9, 34200, 1]);
  });
});
