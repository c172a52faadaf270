import { Badge, Flex, Select } from "antd";
import { listSchools } from "../../api/calls";
import type { School } from "../../api/types";
import { setQuery, usePlace } from "../../app/router";
import { count } from "../../format/number";
import { useLanguage, useTexts, word } from "../../i18n";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { LEAGUES, regionName } from "../../region/names";
import { who } from "../campaign/columns";

const REVIEW = {
  REVIEW_STATE_PENDING: "processing",
  REVIEW_STATE_APPROVED: "success",
  REVIEW_STATE_RETURNED: "warning",
} as const;

/** Schools with the state of their review (CAM-63, CAM-67). */
export function Schools() {
  const t = useTexts();
  const { language } = useLanguage();
  const { query } = usePlace();
  const region = query.get("region") ?? "";
  const reviewState = query.get("review") ?? "";
  return (
    <Room
      title={t.schools.title}
      actions={
        <Flex gap={8}>
          <Select
            style={{ width: 150 }}
            value={region}
            onChange={(value) => setQuery({ region: value })}
            aria-label={t.schools.city}
            options={[
              { value: "", label: t.common.all },
              ...LEAGUES.map((code) => ({ value: String(code), label: regionName(code, language) })),
            ]}
          />
          <Select
            style={{ width: 150 }}
            value={reviewState}
            onChange={(value) => setQuery({ review: value })}
            aria-label={t.schools.review}
            options={[
              { value: "", label: t.common.all },
              ...Object.entries(t.words.reviewState).map(([value, label]) => ({ value, label })),
            ]}
          />
        </Flex>
      }
    >
      <Panel flush testId="schools">
        <PagedTable<School>
          name={`schools|${region}|${reviewState}`}
          read={(page, signal) => listSchools({ ...page, region: Number(region) || undefined, reviewState }, signal)}
          rowKey={(s) => s.name}
          empty={{ title: t.schools.none, text: t.schools.noneText }}
          columns={[
            {
              title: t.common.name,
              key: "name",
              render: (_, s) => (
                <>
                  <b style={{ fontWeight: 500 }}>{s.displayName}</b>
                  <div className="mono soft">{s.name.split("/")[1]}</div>
                </>
              ),
            },
            { title: t.schools.type, key: "type", render: (_, s) => word(t.words.schoolType, s.type) },
            { title: t.schools.nature, key: "nature", render: (_, s) => word(t.words.nature, s.nature) },
            { title: t.schools.city, key: "city", render: (_, s) => regionName(s.city, language) },
            { title: t.schools.county, key: "county", render: (_, s) => regionName(s.county, language) },
            {
              title: t.schools.campuses,
              key: "campuses",
              align: "right",
              render: (_, s) => <span className="num">{s.campuses.length}</span>,
            },
            {
              title: t.schools.students,
              key: "students",
              align: "right",
              render: (_, s) => <span className="num">{count(s.studentCount)}</span>,
            },
            {
              title: t.schools.enrolment,
              key: "enrolment",
              align: "right",
              render: (_, s) => <span className="num">{count(s.enrolmentCount)}</span>,
            },
            {
              title: t.schools.staff,
              key: "staff",
              align: "right",
              render: (_, s) => <span className="num">{count(s.staffCount)}</span>,
            },
            {
              title: t.schools.review,
              key: "review",
              render: (_, s) => (
                <div data-review={s.reviewState}>
                  <Badge
                    status={REVIEW[s.reviewState as keyof typeof REVIEW] ?? "default"}
                    text={word(t.words.reviewState, s.reviewState)}
                  />
                  <div className="soft">{s.approved ? t.schools.inForce : t.schools.notInForce}</div>
                </div>
              ),
            },
            { title: t.schools.editor, key: "editor", render: (_, s) => who(s.editor) },
          ]}
        />
      </Panel>
    </Room>
  );
}
