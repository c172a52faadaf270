import { App } from "antd";
import { createElement, useCallback, useState } from "react";
import { ApiError } from "../api/client";
import { useTexts } from "../i18n";
import { ErrorText } from "./ErrorPanel";

/** Runs a change; a failure is shown with its reason and trace id. `run` gives whether it was done. */
export function useAction(): { busy: boolean; run: (act: () => Promise<unknown>, done?: string) => Promise<boolean> } {
  const { message, notification } = App.useApp();
  const t = useTexts();
  const [busy, setBusy] = useState(false);
  const run = useCallback(
    async (act: () => Promise<unknown>, done?: string) => {
      setBusy(true);
      try {
        await act();
        if (done) message.success(done);
        return true;
      } catch (problem) {
        const error = problem instanceof ApiError ? problem : new ApiError(0, "PORTAL_FAULT", String(problem));
        notification.error({
          title: t.error.actionTitle,
          description: createElement(ErrorText, { error }),
          duration: 12,
        });
        return false;
      } finally {
        setBusy(false);
      }
    },
    [message, notification, t],
  );
  return { busy, run };
}
