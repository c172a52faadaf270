import { Alert, Button, Flex, Typography } from "antd";
import type { ReactNode } from "react";
import type { ApiError } from "../api/client";
import { useTexts } from "../i18n";

/** What went wrong in words, with the code, the fields at fault and the trace id to hand on. */
export function ErrorText({ error }: { error: ApiError }) {
  const t = useTexts();
  return (
    <div className="error-text">
      <div>{t.words.error[error.reason] ?? error.message}</div>
      {error.fields.length > 0 && (
        <ul>
          {error.fields.map((f) => (
            <li key={f.field + f.description}>
              <code>{f.field}</code> {f.description}
            </li>
          ))}
        </ul>
      )}
      <dl>
        <dt>{t.error.reason}</dt>
        <dd data-testid="error-reason">{error.reason}</dd>
        {error.message && error.fields.length === 0 && (
          <>
            <dt>{t.error.serverSays}</dt>
            <dd>{error.message}</dd>
          </>
        )}
        {error.traceId && (
          <>
            <dt>{t.error.traceId}</dt>
            <dd>
              <Typography.Text copyable={{ tooltips: [t.common.copy, t.common.copied] }} data-testid="error-trace">
                {error.traceId}
              </Typography.Text>
            </dd>
          </>
        )}
      </dl>
    </div>
  );
}

export function ErrorPanel({ error, retry, title }: { error: ApiError; retry?: () => void; title?: ReactNode }) {
  const t = useTexts();
  return (
    <Alert
      type="error"
      showIcon
      data-testid="error-panel"
      title={title ?? t.error.title}
      description={
        <Flex justify="space-between" align="end" gap={16} wrap>
          <ErrorText error={error} />
          {retry && (
            <Button size="small" onClick={retry}>
              {t.common.retry}
            </Button>
          )}
        </Flex>
      }
    />
  );
}
