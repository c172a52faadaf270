import { Tag } from "antd";
import type { ReactNode } from "react";
import type { Activity, CartItem, TouchpointSetting } from "../../api/types";
import { Link } from "../../app/router";
import { count, ratio, yuan } from "../../format/number";
import { seconds } from "../../format/time";
import { Conservation, Reasons } from "../../funnel/Conservation";
import { FunnelBars } from "../../funnel/FunnelBars";
import { type Ledger, totalOf } from "../../funnel/ledger";
import type { LiveActivity } from "../../funnel/useLive";
import { useTexts, word } from "../../i18n";
import { Panel } from "../../parts/Room";
import { PriorityTag, TouchpointName } from "../../parts/tags";

/** One activity: what it is, its touchpoints, and what becomes of it now. */
export function ActivityPanel({
  activity,
  parked,
  live,
  launched,
}: {
  activity: Activity;
  parked: CartItem[];
  live?: LiveActivity;
  launched: boolean;
}) {
  const t = useTexts();
  return (
    <Panel
      testId="activity"
      title={
        <>
          {activity.displayName}{" "}
          <Tag variant="filled" className="mono">
            {activity.code}
          </Tag>
          <Tag variant="filled" color="geekblue">
            {word(t.words.mode, activity.mode)}
          </Tag>
        </>
      }
      extra={
        activity.activityNumber > 0 && (
          <span className="soft">
            {t.campaign.number} <span className="num">{activity.activityNumber}</span>
          </span>
        )
      }
    >
      <div className="grid halves">
        <Facts activity={activity} />
        {launched && live ? (
          <div data-testid="live-funnel" data-activity={activity.activityNumber}>
            <FunnelBars ledger={totalOf(live.ledgers)} />
            <Conservation ledger={totalOf(live.ledgers)} />
            {activity.mode === "MODE_EVENT_TRIGGERED" && (
              <div className="law">
                {t.funnel.populationText(
                  count(live.progress.population),
                  count(live.progress.touchpoints[0]?.populationControl),
                )}
              </div>
            )}
          </div>
        ) : (
          <span className="soft">{launched ? t.common.loading : t.funnel.notLaunched}</span>
        )}
      </div>
      <h3 style={{ fontSize: 13, margin: "18px 0 10px" }}>{t.campaign.settings}</h3>
      {activity.settings.length + parked.length === 0 && <span className="soft">{t.campaign.settingsNone}</span>}
      {activity.settings.map((setting) => (
        <SettingRow
          key={setting.touchpoint}
          setting={setting}
          ledger={live?.ledgers.find((l) => l.touchpoint === setting.touchpoint)}
        />
      ))}
      {parked.map((item) => (
        <SettingRow key={item.itemId} setting={item.setting} inCart />
      ))}
    </Panel>
  );
}

function Facts({ activity: a }: { activity: Activity }) {
  const t = useTexts();
  const target = a.target;
  const source = target?.audience
    ? `${t.campaign.audience} ${target.audience.split("/")[1]}`
    : target?.customerList
      ? `${t.campaign.list} ${target.customerList.split("/")[1]}`
      : target?.allCustomers
        ? t.campaign.allCustomers
        : "–";
  const facts: [string, ReactNode][] = [[t.campaign.target, source]];
  if (a.definition) {
    const id = a.definition.split("/")[1];
    facts.push([t.campaign.event, <Link key="e" to={`/events/${id}`}>{id}</Link>]);
    facts.push([t.campaign.ttl, seconds(a.timeToLiveSeconds || 1800)]);
  }
  if (a.product) {
    facts.push([
      t.campaign.product,
      <>
        {a.product.displayName} <span className="mono soft">{a.product.code}</span>{" "}
        {t.campaign.price(yuan(a.product.priceFen))}
      </>,
    ]);
    if (a.product.orderInstruction)
      facts.push([t.campaign.reply, <span className="mono" key="r">{a.product.orderInstruction}</span>]);
  }
  facts.push([t.campaign.controlShare, ratio(a.controlPercent / 100)]);
  if (a.splits.length > 0)
    facts.push([t.campaign.splits, a.splits.map((s) => `${s.group} ${ratio(s.percent / 100)}`).join(" · ")]);
  if (a.school) facts.push([t.campaign.school, a.school]);
  if (a.description) facts.push([t.research.similar, a.description]);
  return (
    <dl className="facts" style={{ alignContent: "start" }}>
      {facts.map(([label, value]) => (
        <Fact key={label} label={label} value={value} />
      ))}
    </dl>
  );
}

function Fact({ label, value }: { label: string; value: ReactNode }) {
  return (
    <>
      <dt>{label}</dt>
      <dd>{value}</dd>
    </>
  );
}

function SettingRow({
  setting: s,
  ledger,
  inCart = false,
}: {
  setting: TouchpointSetting;
  ledger?: Ledger;
  inCart?: boolean;
}) {
  const t = useTexts();
  const kept = [
    s.suppression?.keepBlockList && t.words.reason.block_list,
    s.suppression?.keepRedList && t.words.reason.red_list,
    s.suppression?.keepSensitiveList && t.words.reason.sensitive_list,
  ].filter(Boolean);
  const options = [
    s.periodicUpdate && t.campaign.periodic,
    kept.length > 0 ? t.campaign.keeps(kept.join(" · ")) : t.campaign.filtered,
    s.smsContractOnly && t.campaign.smsContract,
  ].filter(Boolean);
  return (
    <div className="touchpoint-row" data-testid="setting" data-touchpoint={s.touchpoint}>
      <h4>
        <TouchpointName touchpoint={s.touchpoint} />
        <PriorityTag priority={s.priority} />
        {inCart && (
          <Tag color="gold" variant="filled">
            {t.campaign.inCart}
          </Tag>
        )}
        {s.period && (
          <span className="soft num" style={{ fontWeight: 400 }}>
            {s.period.startDate} – {s.period.endDate}
          </span>
        )}
      </h4>
      <div className="grid halves">
        <div>
          {s.marketingWords && <div style={{ marginBottom: 4 }}>{s.marketingWords}</div>}
          {Object.entries(s.fields).map(([key, value]) => (
            <div key={key} className="soft cut" title={value}>
              {word(t.words.field, key)} <span style={{ color: "#1b2430" }}>{value}</span>
            </div>
          ))}
          <div className="soft">{options.join(" · ")}</div>
        </div>
        {ledger && (
          <div>
            <Conservation ledger={ledger} />
            <Reasons title={t.funnel.excludedWhy} reasons={ledger.excluded} words={t.words.reason} />
            <Reasons title={t.funnel.suppressedWhy} reasons={ledger.suppressed} words={t.words.reason} />
            <div className="outcomes">
              <Reasons title={t.funnel.settledHow} reasons={ledger.settled} words={t.words.outcome} />
            </div>
            <Reasons
              title=""
              reasons={[
                { reason: t.funnel.clicks, count: ledger.clicks },
                { reason: t.funnel.replies, count: ledger.replies },
                { reason: t.funnel.optOuts, count: ledger.optOuts },
                { reason: t.funnel.orders, count: ledger.orders },
              ].filter((r) => r.count > 0)}
              words={{}}
            />
          </div>
        )}
      </div>
    </div>
  );
}
