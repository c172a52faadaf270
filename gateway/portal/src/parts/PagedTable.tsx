import { Button, Flex, Table, Typography } from "antd";
import type { ColumnsType } from "antd/es/table";
import { type ReactNode, useState } from "react";
import type { Page } from "../api/calls";
import { useQuery } from "../api/useQuery";
import { count } from "../format/number";
import { useTexts } from "../i18n";
import { ErrorPanel } from "./ErrorPanel";
import { Nothing } from "./Loaded";

interface Props<R extends object> {
  /** Changes when the filter does: the list then begins with its first page. */
  name: string;
  read: (page: { pageSize: number; pageToken: string }, signal: AbortSignal) => Promise<Page<R>>;
  columns: ColumnsType<R>;
  rowKey: (row: R) => string;
  empty: ReactNode | { title: string; text: string };
  pollMs?: number;
  pageSize?: number;
  onRow?: (row: R) => void;
  version?: number;
}

/** A list of the API, page by page; with loading, empty and error states. */
export function PagedTable<R extends object>(props: Props<R>) {
  const { name, read, pageSize = 50 } = props;
  const [place, setPlace] = useState<{ name: string; tokens: string[] }>({ name, tokens: [] });
  const tokens = place.name === name ? place.tokens : [];
  const pageToken = tokens.at(-1) ?? "";
  const t = useTexts();
  const query = useQuery(
    `${name}|${pageToken}|${props.version ?? 0}`,
    (signal) => read({ pageSize, pageToken }, signal),
    props.pollMs,
  );
  const rows = query.data?.rows ?? [];
  if (query.error && !query.data) {
    return <ErrorPanel error={query.error} retry={query.reload} />;
  }
  const empty = props.empty;
  return (
    <>
      <Table<R>
        size="small"
        rowKey={props.rowKey}
        columns={props.columns}
        dataSource={rows}
        loading={query.loading && !query.data ? { description: t.common.loading } : false}
        pagination={false}
        scroll={{ x: "max-content" }}
        locale={{
          emptyText: query.loading ? (
            <div style={{ height: 72 }} />
          ) : empty !== null && typeof empty === "object" && "title" in empty && "text" in empty ? (
            <Nothing title={empty.title} text={empty.text} />
          ) : (
            (empty as ReactNode)
          ),
        }}
        onRow={
          props.onRow &&
          ((row) => ({
            onClick: (event) => {
              if (!(event.target as HTMLElement).closest("a, button, .ant-select, .ant-switch")) props.onRow?.(row);
            },
            style: { cursor: "pointer" },
          }))
        }
      />
      {(tokens.length > 0 || query.data?.next) && (
        <Flex justify="space-between" align="center" style={{ marginTop: 10 }}>
          <Typography.Text type="secondary">
            {query.data?.total !== undefined
              ? t.common.rows(count(query.data.total))
              : t.common.pageRows(count(rows.length))}
          </Typography.Text>
          <Flex gap={8}>
            {tokens.length > 0 && (
              <Button size="small" onClick={() => setPlace({ name, tokens: [] })}>
                {t.common.first}
              </Button>
            )}
            {query.data?.next && (
              <Button size="small" onClick={() => setPlace({ name, tokens: [...tokens, query.data?.next ?? ""] })}>
                {t.common.more}
              </Button>
            )}
          </Flex>
        </Flex>
      )}
    </>
  );
}
