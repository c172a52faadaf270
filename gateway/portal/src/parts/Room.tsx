import { Flex, Typography } from "antd";
import type { ReactNode } from "react";

/** The head of a page: title, one line about it, actions; then its content. */
export function Room({
  title,
  lead,
  actions,
  children,
}: {
  title: ReactNode;
  lead?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}) {
  return (
    <div className="room">
      <Flex justify="space-between" align="start" gap={16} wrap className="room-head">
        <div>
          <Typography.Title level={1}>{title}</Typography.Title>
          {lead && <Typography.Text type="secondary">{lead}</Typography.Text>}
        </div>
        {actions && (
          <Flex gap={8} wrap>
            {actions}
          </Flex>
        )}
      </Flex>
      {children}
    </div>
  );
}

export function Panel({
  title,
  extra,
  children,
  flush = false,
  testId,
}: {
  title?: ReactNode;
  extra?: ReactNode;
  children: ReactNode;
  flush?: boolean;
  testId?: string;
}) {
  return (
    <section className="panel" data-testid={testId}>
      {(title || extra) && (
        <header>
          <h2>{title}</h2>
          {extra}
        </header>
      )}
      <div className={flush ? "panel-body flush" : "panel-body"}>{children}</div>
    </section>
  );
}
