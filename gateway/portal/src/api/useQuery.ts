import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError } from "./client";

export interface Query<T> {
  data?: T;
  error?: ApiError;
  loading: boolean;
  reload: () => void;
}

/**
 * Reads again whenever `key` changes, and every `pollMs` while the page is in front. Old data stay on
 * show while new ones are read, and a failed poll keeps them beside its error.
 */
export function useQuery<T>(
  key: string | null,
  read: (signal: AbortSignal) => Promise<T>,
  pollMs = 0,
): Query<T> {
  const [state, setState] = useState<{ key: string | null; data?: T; error?: ApiError; loading: boolean }>({
    key,
    loading: key !== null,
  });
  const [round, setRound] = useState(0);
  const latest = useRef(read);
  latest.current = read;

  useEffect(() => {
    if (key === null) {
      setState({ key, loading: false });
      return;
    }
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    setState((old) => (old.key === key ? { ...old, loading: true } : { key, loading: true }));
    const once = async () => {
      try {
        const data = await latest.current(abort.signal);
        if (!abort.signal.aborted) setState({ key, data, loading: false });
      } catch (problem) {
        if (abort.signal.aborted) return;
        const error = problem instanceof ApiError ? problem : new ApiError(0, "PORTAL_FAULT", String(problem));
        setState((old) => ({ key, data: old.key === key ? old.data : undefined, error, loading: false }));
      }
      if (pollMs > 0 && !abort.signal.aborted) timer = setTimeout(tick, pollMs);
    };
    const tick = () => {
      if (document.hidden) timer = setTimeout(tick, pollMs);
      else void once();
    };
    void once();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, pollMs, round]);

  const reload = useCallback(() => setRound((n) => n + 1), []);
  // Data of another key are not shown for this one.
  const current = state.key === key;
  return {
    data: current ? state.data : undefined,
    error: current ? state.error : undefined,
    loading: current ? state.loading : key !== null,
    reload,
  };
}
