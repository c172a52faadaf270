import { Col, Row } from "antd";
import { listActivities, listCampaigns } from "../../api/calls";
import type { Activity, Campaign } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link } from "../../app/router";
import { useMay } from "../../app/session";
import { count } from "../../format/number";
import { Conservation } from "../../funnel/Conservation";
import { FunnelBars } from "../../funnel/FunnelBars";
import { inHand, inTransit, reached, totalOf } from "../../funnel/ledger";
import { type LiveActivity, useLive } from "../../funnel/useLive";
import { useTexts, word } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel, Room } from "../../parts/Room";
import { CampaignStateTag } from "../../parts/tags";
import { Best } from "./Best";
import { RegionMap } from "./RegionMap";
import { Services } from "./Services";
import { Tags } from "./Tags";

const LIST_MS = 10_000;
/** Funnels on show at once; more would ask the gateway for more than a person can read. */
const MOST = 12;

export interface Running {
  campaign: Campaign;
  activity: Activity;
}

/** Running and paused campaigns with their activities. */
async function running(signal: AbortSignal): Promise<Running[]> {
  const states = ["CAMPAIGN_STATE_RUNNING", "CAMPAIGN_STATE_PAUSED"];
  const pages = await Promise.all(states.map((state) => listCampaigns({ state, pageSize: 100 }, signal)));
  const campaigns = new Map(pages.flatMap((p) => p.rows).map((c) => [c.name, c]));
  if (campaigns.size === 0) return [];
  const activities = await listActivities("-", signal);
  return activities
    .map((activity) => ({ activity, campaign: campaigns.get(activity.name.split("/").slice(0, 2).join("/")) }))
    .filter((r): r is Running => r.campaign !== undefined)
    .sort((a, b) => b.activity.activityNumber - a.activity.activityNumber);
}

export function Board() {
  const t = useTexts();
  const list = useQuery("running", running, LIST_MS);
  const shown = list.data?.slice(0, MOST);
  const live = useLive(shown?.map((r) => r.activity));
  const operates = useMay("operator", "analyst");
  return (
    <Room title={t.board.title}>
      <Figures list={list.data} live={live.data} />
      <div className="grid main-side">
        <div className="stack">
          <Panel
            title={t.board.running}
            extra={<span className="live-dot">{t.board.live}</span>}
            testId="running"
          >
            <Loaded query={list} skeletonRows={8}>
              {(found) =>
                found.length === 0 ? (
                  <Nothing
                    title={t.board.runningNone}
                    text={t.board.runningNoneText}
                    action={<Link to="/campaigns">{t.board.allCampaigns}</Link>}
                  />
                ) : (
                  <>
                    <Loaded query={live} skeletonRows={8}>
                      {(states) => (
                        <Row gutter={[28, 24]}>
                          {found.slice(0, MOST).map((r) => (
                            <Col xs={24} xl={12} key={r.activity.name}>
                              <ActivityFunnel running={r} live={states.get(r.activity.name)} />
                            </Col>
                          ))}
                        </Row>
                      )}
                    </Loaded>
                    {found.length > MOST && (
                      <p>
                        <Link to="/campaigns">{t.board.more(count(found.length - MOST))}</Link>
                      </p>
                    )}
                  </>
                )
              }
            </Loaded>
          </Panel>
          <RegionMap activities={shown?.map((r) => r.activity.activityNumber)} />
        </div>
        <div className="stack">
          <Best />
          <Tags />
          {operates && <Services />}
        </div>
      </div>
    </Room>
  );
}

function Figures({ list, live }: { list?: Running[]; live?: Map<string, LiveActivity> }) {
  const t = useTexts().board;
  const total = totalOf([...(live?.values() ?? [])].flatMap((a) => a.ledgers));
  const known = live !== undefined;
  const figures: [string, string | undefined][] = [
    [t.campaigns, list && count(new Set(list.map((r) => r.campaign.name)).size)],
    [t.activities, list && count(list.length)],
    [t.handed, known ? count(total.handed) : undefined],
    [t.inQueue, known ? count(inHand(total) + Math.max(0, inTransit(total))) : undefined],
    [t.reached, known ? count(reached(total)) : undefined],
    [t.orders, known ? count(total.orders) : undefined],
  ];
  return (
    <div className="figures" data-testid="figures">
      {figures.map(([label, value]) => (
        <div className="figure" key={label}>
          <span>{label}</span>
          <b>{value ?? "–"}</b>
        </div>
      ))}
    </div>
  );
}

function ActivityFunnel({ running, live }: { running: Running; live?: LiveActivity }) {
  const t = useTexts();
  const { activity, campaign } = running;
  const id = campaign.name.split("/")[1] ?? "";
  const ledger = totalOf(live?.ledgers ?? []);
  const touchpoints = live?.ledgers.map((l) => word(t.words.touchpoint, l.touchpoint)).join(" · ");
  return (
    <article data-testid="activity-funnel" data-activity={activity.activityNumber}>
      <div className="line" style={{ marginBottom: 8 }}>
        <Link to={`/campaigns/${id}`} className="cut" title={`${campaign.displayName} / ${activity.displayName}`}>
          <b>{activity.displayName}</b>
        </Link>
        {campaign.state === "CAMPAIGN_STATE_PAUSED" && <CampaignStateTag state={campaign.state} />}
        <span className="soft cut" style={{ gridColumn: "1 / -1" }}>
          {word(t.words.mode, activity.mode)} · {touchpoints || "–"}
        </span>
      </div>
      <FunnelBars ledger={ledger} />
      <Conservation ledger={ledger} compact />
    </article>
  );
}
