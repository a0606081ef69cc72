//! Who may read the metrics: whoever the cluster's API server knows by the token that is shown, and lets `get` the
//! non-resource URL `/metrics`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long an answer holds. A token or a right that is taken away works for this long.
const KEPT: Duration = Duration::from_secs(60);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many answers are kept; the oldest goes.
const MAX_KEPT: usize = 256;
/// How many questions are asked at the same time, whatever anybody sends.
const QUESTIONS: usize = 4;
/// The longest token that is asked about, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// What a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The metrics.
    Allowed,
    /// 401: no token, or one that the API server does not know.
    Unknown,
    /// 403: somebody who may not.
    Forbidden,
    /// 500: the API server did not say.
    Unanswered,
}

type Fingerprint = [u8; 32];

/// Asks the API server, and remembers its answers for a while.
pub struct Scrapers {
    client: kube::Client,
    kept: Mutex<BTreeMap<Fingerprint, (Instant, Answer)>>,
    questions: Semaphore,
}

impl fmt::Debug for Scrapers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrapers").finish_non_exhaustive()
    }
}

impl Scrapers {
    /// Asks with this client, which needs `create` on `tokenreviews` and `subjectaccessreviews`.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self { client, kept: Mutex::default(), questions: Semaphore::new(QUESTIONS) }
    }

    /// What a request with these headers gets.
    pub async fn judge(&self, headers: &HeaderMap) -> Answer {
        let Some(token) = bearer(headers) else { return Answer::Unknown };
        // The token itself is kept nowhere.
        let fingerprint: Fingerprint = Sha256::digest(token).into();
        let now = Instant::now();
        if let Some((at, answer)) = self.kept().get(&fingerprint)
            && now.duration_since(*at) < KEPT
        {
            return *answer;
        }
        match tokio::time::timeout(PATIENCE, self.ask(token)).await {
            Ok(Ok(answer)) => {
                self.keep(fingerprint, now, answer);
                answer
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the API server does not say who may read the metrics"
                );
                Answer::Unanswered
            }
            Err(_) => {
                tracing::warn!(patience = ?PATIENCE, "the API server does not say in time who may read the metrics");
                Answer::Unanswered
            }
        }
    }

    async fn ask(&self, token: &str) -> kube::Result<Answer> {
        let Ok(_turn) = self.questions.acquire().await else { return Ok(Answer::Unanswered) };
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: None },
            ..TokenReview::default()
        };
        let review = Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        let status = review.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Answer::Unknown);
        };
        let UserInfo { username, uid, groups, extra } = user;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: username,
                uid,
                groups,
                extra,
                non_resource_attributes: Some(NonResourceAttributes {
                    path: Some("/metrics".to_owned()),
                    verb: Some("get".to_owned()),
                }),
                resource_attributes: None,
            },
            ..SubjectAccessReview::default()
        };
        let review =
            Api::<SubjectAccessReview>::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        let allowed = review.status.is_some_and(|status| status.allowed && status.denied != Some(true));
        Ok(if allowed { Answer::Allowed } else { Answer::Forbidden })
    }

    fn keep(&self, fingerprint: Fingerprint, now: Instant, answer: Answer) {
        let mut kept = self.kept();
        kept.retain(|_, (at, _)| now.duration_since(*at) < KEPT);
        while kept.len() >= MAX_KEPT {
            let Some(oldest) = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(fingerprint, _)| *fingerprint) else {
                break;
            };
            kept.remove(&oldest);
        }
        kept.insert(fingerprint, (now, answer));
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, (Instant, Answer)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of a request, if it has one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAX_TOKEN).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// What an API server would say, and how often it was asked.
    #[derive(Clone, Default)]
    struct Server {
        asked: Arc<AtomicUsize>,
        down: Arc<Mutex<bool>>,
    }

    impl Server {
        fn scrapers(&self) -> Scrapers {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
            });
            Scrapers::new(kube::Client::new(service, "default"))
        }

        async fn answer(&self, request: Request<Body>) -> Response<Body> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let (parts, body) = request.into_parts();
            let mut object: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            let spec = object["spec"].clone();
            if spec["token"] == "slow" {
                tokio::time::sleep(2 * PATIENCE).await;
            }
            if *self.down.lock().unwrap() {
                let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "secret detail" });
                return Response::builder().status(403).body(status.to_string().into_bytes().into()).unwrap();
            }
            object["status"] = match parts.uri.path() {
                "/apis/authentication.k8s.io/v1/tokenreviews" => match spec["token"].as_str().unwrap() {
                    "forged" => json!({ "authenticated": false, "error": "forged" }),
                    name => json!({ "authenticated": true, "user": {
                        "username": name, "uid": "1", "groups": ["system:authenticated"], "extra": { "pod": ["p"] },
                    } }),
                },
                "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
                    assert_eq!(spec["nonResourceAttributes"], json!({ "path": "/metrics", "verb": "get" }));
                    assert_eq!(
                        (&spec["groups"], &spec["uid"], &spec["extra"]),
                        (&json!(["system:authenticated"]), &json!("1"), &json!({ "pod": ["p"] }))
                    );
                    json!({ "allowed": spec["user"] == "prometheus" })
                }
                other => panic!("{other}"),
            };
            Response::new(object.to_string().into_bytes().into())
        }
    }

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn only_whom_the_api_server_knows_and_lets_gets_in() {
        let server = Server::default();
        let scrapers = server.scrapers();
        for (authorization, answer, asked) in [
            ("Bearer prometheus", Answer::Allowed, 2),
            ("bearer  prometheus ", Answer::Allowed, 2),
            ("Bearer somebody", Answer::Forbidden, 4),
            ("Bearer forged", Answer::Unknown, 5),
            ("Bearer forged", Answer::Unknown, 5),
            ("Basic prometheus", Answer::Unknown, 5),
            ("Bearer ", Answer::Unknown, 5),
            ("prometheus", Answer::Unknown, 5),
        ] {
            assert_eq!(scrapers.judge(&with(authorization)).await, answer, "{authorization}");
            assert_eq!(server.asked.load(Ordering::Relaxed), asked, "{authorization}");
        }
        assert_eq!(scrapers.judge(&HeaderMap::new()).await, Answer::Unknown);
        let endless = format!("Bearer {}", "x".repeat(MAX_TOKEN + 1));
        assert_eq!(scrapers.judge(&with(&endless)).await, Answer::Unknown);
        assert_eq!(server.asked.load(Ordering::Relaxed), 5);
        tokio::time::advance(KEPT).await;
        assert_eq!(scrapers.judge(&with("Bearer prometheus")).await, Answer::Allowed);
        assert_eq!(server.asked.load(Ordering::Relaxed), 7, "an answer holds for a minute only");
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_nobody_gets_in_and_nothing_is_kept() {
        let server = Server::default();
        let scrapers = server.scrapers();
        let began = Instant::now();
        assert_eq!(scrapers.judge(&with("Bearer slow")).await, Answer::Unanswered);
        assert_eq!(began.elapsed(), PATIENCE);
        *server.down.lock().unwrap() = true;
        assert_eq!(scrapers.judge(&with("Bearer prometheus")).await, Answer::Unanswered);
        *server.down.lock().unwrap() = false;
        assert_eq!(scrapers.judge(&with("Bearer prometheus")).await, Answer::Allowed);
        // What is known already holds while the server is down.
        *server.down.lock().unwrap() = true;
        assert_eq!(scrapers.judge(&with("Bearer prometheus")).await, Answer::Allowed);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_answers_are_kept_and_the_oldest_goes() {
        let scrapers = Server::default().scrapers();
        for number in 0..MAX_KEPT + 10 {
            assert_eq!(scrapers.judge(&with(&format!("Bearer t{number}"))).await, Answer::Forbidden);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let kept = scrapers.kept();
        assert_eq!(kept.len(), MAX_KEPT);
        let has = |number: usize| kept.contains_key(&<Fingerprint>::from(Sha256::digest(format!("t{number}"))));
        assert!(!has(9) && has(10) && has(MAX_KEPT + 9));
    }
}
