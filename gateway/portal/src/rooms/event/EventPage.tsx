import { get } from "../../api/client";
import { listActivities } from "../../api/calls";
import type { Activity, Definition } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link } from "../../app/router";
import { count } from "../../format/number";
import { dateTime, seconds } from "../../format/time";
import { useLanguage, useTexts, word } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel, Room } from "../../parts/Room";
import { who } from "../campaign/columns";
import { inWords, sourcesOf } from "./wording";

const POLL_MS = 5000;

/** One event: its rules, its matches, the activities that wait for it. */
export function EventPage({ id }: { id: string }) {
  const t = useTexts();
  const { language } = useLanguage();
  const event = useQuery(
    `event|${id}`,
    (signal) => get<Definition>(`event/v1/definitions/${id}`, {}, signal),
    POLL_MS,
  );
  const users = useQuery(`event-users|${id}`, async (signal) =>
    (await listActivities("-", signal)).filter((a: Activity) => a.definition === `definitions/${id}`),
  );
  return (
    <Room title={event.data?.displayName ?? t.events.detail}>
      <Panel title={t.events.detail} testId="event">
        <Loaded query={event}>
          {(d) => (
            <dl className="facts">
              <dt>{t.events.rule}</dt>
              <dd data-testid="expression">{inWords(d, language, t)}</dd>
              <dt>{t.events.source}</dt>
              <dd>
                {sourcesOf(d.expression)
                  .map((s) => word(t.words.source, s))
                  .join(" · ")}
              </dd>
              <dt>{t.events.combination}</dt>
              <dd>{seconds(d.combinationSeconds || 1800)}</dd>
              <dt>{t.events.matches}</dt>
              <dd className="num">{count(d.matchCount)}</dd>
              <dt>{t.events.number}</dt>
              <dd className="num">{d.definitionNumber}</dd>
              <dt>{t.events.creator}</dt>
              <dd>{who(d.creator)}</dd>
              <dt>{t.events.updated}</dt>
              <dd className="num">{dateTime(d.updateTime)}</dd>
              {d.description && (
                <>
                  <dt>{t.events.description}</dt>
                  <dd>{d.description}</dd>
                </>
              )}
            </dl>
          )}
        </Loaded>
      </Panel>
      <Panel title={t.events.usedBy}>
        <Loaded query={users}>
          {(found) =>
            found.length === 0 ? (
              <Nothing title={t.events.usedByNone} />
            ) : (
              <div className="lines">
                {found.map((a) => (
                  <Link key={a.name} to={`/campaigns/${a.name.split("/")[1]}`}>
                    {a.displayName}
                  </Link>
                ))}
              </div>
            )
          }
        </Loaded>
      </Panel>
    </Room>
  );
}
