//! Waiting for several futures at once, on one task: they may borrow, and dropping the whole drops them all.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// A future of one of several things done at once.
pub(crate) type Part<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// All results in order, or the first error, which ends the others.
pub(crate) async fn try_all<T, E>(mut parts: Vec<Part<'_, T, E>>) -> Result<Vec<T>, E> {
    let mut results: Vec<Option<T>> = parts.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (part, result) in parts.iter_mut().zip(&mut results) {
            if result.is_some() {
                continue;
            }
            match part.as_mut().poll(context) {
                Poll::Ready(Ok(value)) => *result = Some(value),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => waiting = true,
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    Ok(results.into_iter().flatten().collect())
}
