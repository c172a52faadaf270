import { listDefinitions } from "../../api/calls";
import { navigate } from "../../app/router";
import { useTexts } from "../../i18n";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { useEventColumns } from "./columns";

const POLL_MS = 10_000;

/** The event centre's list: what each event waits for, in words, and how often it came. */
export function Events() {
  const t = useTexts();
  const columns = useEventColumns();
  return (
    <Room title={t.events.title}>
      <Panel flush testId="events">
        <PagedTable
          name="events"
          read={(page, signal) => listDefinitions(page, signal)}
          columns={columns}
          rowKey={(d) => d.name}
          pollMs={POLL_MS}
          onRow={(d) => navigate(`/events/${d.name.split("/")[1]}`)}
          empty={{ title: t.events.none, text: t.events.noneText }}
        />
      </Panel>
    </Room>
  );
}
