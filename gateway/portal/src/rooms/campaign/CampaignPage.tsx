import { Alert, Tabs, Typography } from "antd";
import { getCampaign, listActivities, listCart, listJournal } from "../../api/calls";
import type { Campaign, JournalEntry } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link, setQuery, usePlace } from "../../app/router";
import { useMay } from "../../app/session";
import { dateTime } from "../../format/time";
import { useLanguage, useTexts, word } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { CampaignStateTag } from "../../parts/tags";
import { regionName } from "../../region/names";
import { ActivityPanel } from "./ActivityPanel";
import { CampaignActions } from "./CampaignActions";
import { Why } from "./Why";
import { who } from "./columns";
import { remark } from "./journal";
import { useLive } from "../../funnel/useLive";

const POLL_MS = 5000;
const LAUNCHED = new Set([
  "CAMPAIGN_STATE_RUNNING",
  "CAMPAIGN_STATE_PAUSED",
  "CAMPAIGN_STATE_COMPLETED",
  "CAMPAIGN_STATE_TERMINATED",
]);

export function CampaignPage({ id }: { id: string }) {
  const t = useTexts();
  const { query: place } = usePlace();
  const plans = useMay("planner", "campus_manager");
  const traces = useMay("operator", "planner", "analyst");
  const explains = useMay("planner", "approver", "operator", "analyst", "clerk");
  const campaign = useQuery(`campaign|${id}`, (signal) => getCampaign(id, signal), POLL_MS);
  const state = campaign.data?.state ?? "";
  const activities = useQuery(`activities|${id}|${campaign.data?.etag ?? ""}`, (signal) => listActivities(id, signal));
  const cart = useQuery(plans ? `cart|${id}|${campaign.data?.etag ?? ""}` : null, (signal) => listCart(signal));
  const launched = LAUNCHED.has(state);
  const live = useLive(launched ? activities.data : undefined);
  const parked = (cart.data?.items ?? []).filter((item) => item.activity.startsWith(`campaigns/${id}/`));

  if (!campaign.data) {
    return (
      <Room title={t.menu.campaigns}>
        <Panel>
          <Loaded query={campaign}>{() => null}</Loaded>
        </Panel>
      </Room>
    );
  }
  const c = campaign.data;
  const reload = () => {
    campaign.reload();
    activities.reload();
    cart.reload();
  };
  const overview = (
    <Loaded query={activities} skeletonRows={8}>
      {(found) =>
        found.length === 0 ? (
          <Panel>
            <Nothing title={t.campaign.activitiesNone} text={t.campaign.activitiesNoneText} />
          </Panel>
        ) : (
          <div className="stack">
            {live.error && !live.data && <Loaded query={live}>{() => null}</Loaded>}
            {found.map((activity) => (
              <ActivityPanel
                key={activity.name}
                activity={activity}
                parked={parked.filter((item) => item.activity === activity.name)}
                live={live.data?.get(activity.name)}
                launched={launched}
              />
            ))}
          </div>
        )
      }
    </Loaded>
  );
  const tabs = [
    { key: "overview", label: t.campaign.tabs.overview, children: overview },
    { key: "head", label: t.campaign.tabs.head, children: <Head campaign={c} /> },
    { key: "journal", label: t.campaign.tabs.journal, children: <Journal id={id} etag={c.etag} /> },
    ...(explains
      ? [{ key: "why", label: t.campaign.tabs.why, children: <Why activities={activities.data ?? []} /> }]
      : []),
  ];
  return (
    <Room
      title={
        <>
          {c.displayName} <CampaignStateTag state={c.state} />
        </>
      }
      lead={
        <>
          <RegionAndPeriod campaign={c} />
          {traces && c.traceId && (
            <>
              {" · "}
              <Link to={`/traces/${c.traceId}`} data-testid="launch-trace">
                {t.campaign.trace}
              </Link>
            </>
          )}
        </>
      }
      actions={<CampaignActions campaign={c} parked={parked.length} activities={activities.data ?? []} onDone={reload} />}
    >
      {c.approvalComment && (
        <Alert
          type={c.state === "CAMPAIGN_STATE_RETURNED" ? "warning" : "info"}
          showIcon
          title={`${t.campaign.comment}: ${c.approvalComment}`}
        />
      )}
      <Tabs
        activeKey={place.get("tab") ?? "overview"}
        onChange={(tab) => setQuery({ tab: tab === "overview" ? undefined : tab })}
        items={tabs}
      />
    </Room>
  );
}

function RegionAndPeriod({ campaign }: { campaign: Campaign }) {
  const { language } = useLanguage();
  const p = campaign.period;
  return (
    <>
      {regionName(campaign.region, language)}
      {p && <span className="num">{` · ${p.startDate} – ${p.endDate}`}</span>}
    </>
  );
}

function Head({ campaign: c }: { campaign: Campaign }) {
  const t = useTexts();
  const { language } = useLanguage();
  const list = (words: Record<string, string>, codes: string[]) =>
    codes.map((code) => word(words, code)).join(" · ") || "–";
  const facts: [string, React.ReactNode][] = [
    [t.form.displayName, c.displayName],
    [t.form.theme, c.theme || "–"],
    [t.form.goal, c.goal || "–"],
    [t.form.region, regionName(c.region, language)],
    [t.form.initiator, c.initiator || "–"],
    [t.form.cycle, word(t.words.cycle, c.cycle)],
    [t.form.period, c.period ? `${c.period.startDate} – ${c.period.endDate}` : "–"],
    [t.form.needDimensions, list(t.words.need, c.needDimensions)],
    [t.form.lifecycleStages, list(t.words.lifecycleStage, c.lifecycleStages)],
    [t.form.brands, c.brands.length === 0 ? t.common.all : list(t.words.brand, c.brands)],
    [t.form.targetDescription, c.targetDescription || "–"],
    [t.form.caseId, c.caseId || "–"],
    [t.form.marketingType, c.marketingType || "–"],
    [t.campaign.author, who(c.author)],
    [t.campaign.approver, who(c.approver)],
    [t.campaign.createTime, dateTime(c.createTime)],
    [t.campaign.updateTime, dateTime(c.updateTime)],
    [t.campaign.launchTime, dateTime(c.launchTime)],
    [
      t.campaign.digest,
      c.contentDigest ? (
        <Typography.Text copyable className="mono">
          {c.contentDigest}
        </Typography.Text>
      ) : (
        "–"
      ),
    ],
  ];
  return (
    <Panel>
      <dl className="facts" data-testid="head">
        {facts.map(([label, value]) => (
          <FactLine key={label} label={label} value={value} />
        ))}
      </dl>
    </Panel>
  );
}

function FactLine({ label, value }: { label: string; value: React.ReactNode }) {
  return (
    <>
      <dt>{label}</dt>
      <dd>{value}</dd>
    </>
  );
}

function Journal({ id, etag }: { id: string; etag: string }) {
  const t = useTexts();
  const traces = useMay("operator", "planner", "analyst");
  return (
    <Panel flush testId="journal">
      <PagedTable<JournalEntry>
        name={`journal|${id}|${etag}`}
        read={async (_, signal) => ({ rows: (await listJournal(id, signal)).reverse(), next: "" })}
        rowKey={(e) => `${e.time} ${e.action} ${e.traceId}`}
        empty={<Nothing title={t.campaign.journalNone} />}
        columns={[
          {
            title: t.campaign.journalWhen,
            key: "time",
            render: (_, e) => <span className="num">{dateTime(e.time, true)}</span>,
          },
          { title: t.campaign.journalWho, key: "actor", render: (_, e) => who(e.actor) },
          { title: t.campaign.journalWhat, key: "action", render: (_, e) => word(t.words.journal, e.action) },
          { title: t.campaign.commentLabel, key: "comment", render: (_, e) => remark(e.comment, t) || "–" },
          {
            title: t.why.trace,
            key: "trace",
            render: (_, e) =>
              e.traceId ? (
                traces ? (
                  <Link className="mono" to={`/traces/${e.traceId}`}>
                    {e.traceId.slice(0, 12)}…
                  </Link>
                ) : (
                  <span className="mono">{e.traceId.slice(0, 12)}…</span>
                )
              ) : (
                "–"
              ),
          },
        ]}
      />
    </Panel>
  );
}
