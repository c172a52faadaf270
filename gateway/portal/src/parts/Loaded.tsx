import { Alert, Empty, Skeleton, Typography } from "antd";
import type { ReactNode } from "react";
import type { Query } from "../api/useQuery";
import { useTexts } from "../i18n";
import { ErrorPanel, ErrorText } from "./ErrorPanel";

/** Loading, error and content of one query. Old data stay on show beside the error of a failed poll. */
export function Loaded<T>({
  query,
  children,
  skeletonRows = 4,
}: {
  query: Query<T>;
  children: (data: T) => ReactNode;
  skeletonRows?: number;
}) {
  const t = useTexts();
  if (query.data === undefined) {
    if (query.error) return <ErrorPanel error={query.error} retry={query.reload} />;
    return <Skeleton active title={false} paragraph={{ rows: skeletonRows }} />;
  }
  return (
    <>
      {query.error && (
        <Alert
          type="warning"
          showIcon
          title={t.error.stale}
          description={<ErrorText error={query.error} />}
          style={{ marginBottom: 12 }}
        />
      )}
      {children(query.data)}
    </>
  );
}

export function Nothing({ title, text, action }: { title: string; text?: string; action?: ReactNode }) {
  return (
    <Empty
      image={Empty.PRESENTED_IMAGE_SIMPLE}
      data-testid="empty"
      description={
        <>
          <div>{title}</div>
          {text && <Typography.Text type="secondary">{text}</Typography.Text>}
        </>
      }
    >
      {action}
    </Empty>
  );
}
