//! A router that knows its paths, so that a test can hold them against the document that describes them.

use axum::Router;
use axum::routing::MethodRouter;

use super::FrontState;

/// See the module.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<FrontState>,
    paths: Vec<String>,
}

impl Routes {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// With one more path.
    pub(super) fn route(mut self, path: &str, methods: MethodRouter<FrontState>) -> Self {
        self.paths.push(path.to_owned());
        Self { router: self.router.route(path, methods), ..self }
    }

    /// With all of `others`.
    pub(super) fn merge(mut self, others: Self) -> Self {
        self.paths.extend(others.paths);
        Self { router: self.router.merge(others.router), ..self }
    }

    /// The same paths behind a layer.
    pub(super) fn within(self, layer: impl FnOnce(Router<FrontState>) -> Router<FrontState>) -> Self {
        Self { router: layer(self.router), ..self }
    }

    /// The paths, with `{name}` where something is named.
    pub(super) fn paths(self) -> Vec<String> {
        self.paths
    }

    /// The router.
    pub(super) fn router(self) -> Router<FrontState> {
        self.router
    }
}
