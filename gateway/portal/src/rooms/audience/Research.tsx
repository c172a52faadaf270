import { PlusOutlined } from "@ant-design/icons";
import { Button, Flex, Input, Segmented, Select, Tooltip } from "antd";
import type { ColumnsType } from "antd/es/table";
import { useEffect, useState } from "react";
import { listTags } from "../../api/calls";
import type { Tag } from "../../api/types";
import { setQuery, usePlace } from "../../app/router";
import { useMay } from "../../app/session";
import { count } from "../../format/number";
import { named, useLanguage, useTexts, word } from "../../i18n";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { Conditions } from "./Conditions";
import { type Row, rowOf } from "./selection";

/** Tag library and a count of what is picked from it (AUD-02 to AUD-10). */
export function Research({ mayCount }: { mayCount: string[] }) {
  const t = useTexts();
  const { language } = useLanguage();
  const { query } = usePlace();
  const counts = useMay(...mayCount);
  const [rows, setRows] = useState<Row[]>([]);
  const [keyword, setKeyword] = useState(query.get("query") ?? "");
  useEffect(() => setKeyword(query.get("query") ?? ""), [query]);
  const filter = {
    query: query.get("query") ?? "",
    tagClass: query.get("class") ?? "",
    frequency: query.get("frequency") ?? "",
    orderBy: query.get("order") ?? "",
  };
  const columns: ColumnsType<Tag> = [
    {
      title: t.common.name,
      key: "name",
      render: (_, tag) => (
        <Tooltip title={tag.description}>
          <b style={{ fontWeight: 500 }}>{named(language, tag.displayName, tag.displayNameEn)}</b>
          <div className="mono soft">{tag.code}</div>
        </Tooltip>
      ),
    },
    { title: t.research.tagClass, key: "class", render: (_, tag) => word(t.words.tagClass, tag.tagClass) },
    { title: t.research.type, key: "type", render: (_, tag) => word(t.words.tagType, tag.type) },
    { title: t.research.unit, key: "unit", render: (_, tag) => (tag.unit ? word(t.words.unit, tag.unit) : "–") },
    { title: t.research.frequency, key: "frequency", render: (_, tag) => word(t.words.frequency, tag.frequency) },
    {
      title: t.research.dates,
      key: "date",
      render: (_, tag) => <span className="num">{tag.dataDates[0] ?? "–"}</span>,
    },
    {
      title: t.research.used,
      key: "used",
      align: "right",
      render: (_, tag) => <span className="num">{count(tag.usageCount)}</span>,
    },
    ...(counts
      ? [
          {
            title: "",
            key: "add",
            fixed: "right" as const,
            render: (_: unknown, tag: Tag) => (
              <Button
                size="small"
                type="link"
                icon={<PlusOutlined />}
                data-testid={`add-${tag.code}`}
                onClick={() => setRows((old) => [...old, rowOf(tag)])}
              >
                {t.research.add}
              </Button>
            ),
          },
        ]
      : []),
  ];
  const options = (words: Record<string, string>) => [
    { value: "", label: t.common.all },
    ...Object.entries(words).map(([value, label]) => ({ value, label })),
  ];
  return (
    <Room title={t.research.title}>
      <div className={counts ? "grid research" : "grid"}>
        <Panel
          flush
          testId="tag-library"
          title={t.research.tags}
          extra={
            <Flex gap={8} wrap>
              <Input.Search
                size="small"
                allowClear
                style={{ width: 230 }}
                placeholder={t.research.keyword}
                value={keyword}
                onChange={(e) => setKeyword(e.target.value)}
                onSearch={(value) => setQuery({ query: value })}
                data-testid="tag-keyword"
              />
              <Select
                size="small"
                style={{ width: 140 }}
                value={filter.tagClass}
                onChange={(value) => setQuery({ class: value })}
                options={options(t.words.tagClass)}
                aria-label={t.research.tagClass}
              />
              <Segmented
                size="small"
                value={filter.frequency}
                onChange={(value) => setQuery({ frequency: value })}
                options={options(t.words.frequency)}
              />
              <Select
                size="small"
                style={{ width: 110 }}
                value={filter.orderBy}
                onChange={(value) => setQuery({ order: value })}
                options={[
                  { value: "", label: t.research.byCode },
                  { value: "usage desc", label: t.research.byUsage },
                ]}
                aria-label={t.research.order}
              />
            </Flex>
          }
        >
          <PagedTable
            name={`tags|${JSON.stringify(filter)}`}
            read={(page, signal) => listTags({ ...filter, ...page }, signal)}
            columns={columns}
            rowKey={(tag) => tag.code}
            empty={{ title: t.research.none, text: t.research.noneText }}
            pageSize={20}
          />
        </Panel>
        {counts && <Conditions rows={rows} onChange={setRows} />}
      </div>
    </Room>
  );
}
