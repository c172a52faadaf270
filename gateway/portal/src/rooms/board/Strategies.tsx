import { all, listCampaigns, listDefinitions } from "../../api/calls";
import type { Campaign, Definition } from "../../api/types";
import { Link } from "../../app/router";
import { useSession } from "../../app/session";
import { useTexts } from "../../i18n";
import { Nothing } from "../../parts/Loaded";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { useCampaignColumns } from "../campaign/columns";
import { useEventColumns } from "../event/columns";

/** The caller's own campaigns and events, the board's entry to both (POR-08). */
export function Strategies() {
  const t = useTexts();
  const me = useSession().subject;
  const campaignColumns = useCampaignColumns();
  const eventColumns = useEventColumns();
  const allEvents = <Link to="/events">{t.strategies.eventsAll}</Link>;
  return (
    <Room title={t.strategies.title}>
      <Panel title={t.strategies.campaigns} flush testId="own-campaigns">
        <PagedTable
          name="own-campaigns"
          // The lists know no author: a person's own are picked from what the caller may see.
          read={async (_, signal) => {
            const found = await all<Campaign>((pageToken) => listCampaigns({ pageSize: 200, pageToken }, signal));
            return { rows: found.filter((c) => c.author === me), next: "" };
          }}
          columns={campaignColumns}
          rowKey={(c) => c.name}
          empty={<Nothing title={t.strategies.campaignsNone} text={t.campaigns.noneText} />}
        />
      </Panel>
      <Panel title={t.strategies.events} extra={allEvents} flush testId="own-events">
        <PagedTable
          name="own-events"
          read={async (_, signal) => {
            const found = await all<Definition>((pageToken) => listDefinitions({ pageSize: 200, pageToken }, signal));
            return { rows: found.filter((d) => d.creator === me), next: "" };
          }}
          columns={eventColumns}
          rowKey={(d) => d.name}
          empty={<Nothing title={t.strategies.eventsNone} action={allEvents} />}
        />
      </Panel>
    </Room>
  );
}
