//! Tasks of the present tokio runtime.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::Tasks;

/// The runtime in whose context it is called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Tasks for Tokio {
    fn run(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn run_apart(&self, name: &'static str, task: BoxFuture<'static, ()>) -> std::io::Result<()> {
        let runtime = Handle::current();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(task)).map(drop)
    }

    fn work(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

#[cfg(test)]
mod tests {
    use crate::Executor;

    #[tokio::test]
    async fn work_that_panics_says_so_and_a_task_can_be_ended() {
        let executor = Executor::default();
        assert_eq!(executor.blocking(|| 7).await, Ok(7));
        assert!(executor.blocking(|| -> u8 { panic!("on purpose") }).await.is_err());
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let task = executor.spawn("sleeper", async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        task.abort();
        dropped.await.unwrap_err();
    }
}
