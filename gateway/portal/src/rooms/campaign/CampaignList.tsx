import { PlusOutlined } from "@ant-design/icons";
import { Button, Segmented } from "antd";
import { listCampaigns } from "../../api/calls";
import { navigate, setQuery, usePlace } from "../../app/router";
import { useMay } from "../../app/session";
import { useTexts } from "../../i18n";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { idOf, useCampaignColumns } from "./columns";

const POLL_MS = 10_000;

export function CampaignList() {
  const t = useTexts();
  const state = usePlace().query.get("state") ?? "";
  const columns = useCampaignColumns();
  const plans = useMay("planner", "campus_manager");
  return (
    <Room
      title={t.campaigns.title}
      actions={
        plans && (
          <Button type="primary" icon={<PlusOutlined />} onClick={() => navigate("/campaigns/new")}>
            {t.campaigns.newOne}
          </Button>
        )
      }
    >
      <Panel
        flush
        title={
          <div style={{ overflowX: "auto" }}>
            <Segmented
              size="small"
              value={state}
              onChange={(value) => setQuery({ state: value })}
              options={[
                { value: "", label: t.common.all },
                ...Object.entries(t.words.campaignState).map(([value, label]) => ({ value, label })),
              ]}
            />
          </div>
        }
      >
        <PagedTable
          name={`campaigns|${state}`}
          read={(page, signal) => listCampaigns({ ...page, state }, signal)}
          columns={columns}
          rowKey={(c) => c.name}
          pollMs={POLL_MS}
          onRow={(c) => navigate(`/campaigns/${idOf(c.name)}`)}
          empty={{ title: t.campaigns.none, text: plans && !state ? t.campaigns.noneText : "" }}
        />
      </Panel>
    </Room>
  );
}
