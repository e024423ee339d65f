//! Asking for several things at once: the service answers in order, and need not be waited for in between.

use std::future::Future;

use client::Result;
use futures::{StreamExt, TryStreamExt, stream};

/// Carries out `ask` for each of `items`, so many at once, and gives the answers in their order; or the first error.
pub(crate) async fn each<I, T, F: Future<Output = Result<T>>>(
    items: impl IntoIterator<Item = I>,
    under_way_max: usize,
    ask: impl Fn(I) -> F,
) -> Result<Vec<T>> {
    stream::iter(items).map(ask).buffered(under_way_max).try_collect().await
}
