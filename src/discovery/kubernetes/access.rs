//! Where the API is and who this server is there, as it is now: files that say it may change at any time.

use std::path::Path;

use hyper::header::HeaderValue;

use crate::config::kubeconfig::{self, BearerToken};
use crate::discovery::http_client::{BaseUrl, bearer, secret_text, secret_value};
use crate::model::{KubernetesAccess, Pem, SourceTls};

/// The namespace where nothing names another.
const USUAL_NAMESPACE: &str = "default";
/// What a pod has of its service account: `token`, `ca.crt` and `namespace`.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the API is, and who this server is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KubernetesApi {
    /// The server.
    pub(super) base: BaseUrl,
    /// For https.
    pub(super) tls: SourceTls,
    /// The value of the header field Authorization.
    pub(super) authorization: Option<HeaderValue>,
    /// The namespace that nothing else says.
    pub(super) namespace: String,
}

impl KubernetesApi {
    /// Reads what `access` names. The text says why it can't be used, and what to do.
    pub(super) async fn read(access: &KubernetesAccess) -> Result<KubernetesApi, String> {
        match access {
            KubernetesAccess::Address { address, token_file, tls } => {
                let base = address.parse::<BaseUrl>().map_err(|problem| format!("address: {problem}"))?;
                let authorization = match token_file {
                    Some(file) => {
                        let value = secret_value("Bearer ", file).await;
                        Some(value.map_err(|why| format!("token_file: {why}"))?)
                    }
                    None => None,
                };
                Ok(KubernetesApi { base, tls: tls.clone(), authorization, namespace: USUAL_NAMESPACE.to_owned() })
            }
            KubernetesAccess::Kubeconfig { file, context } => of_kubeconfig(file, context.as_deref()).await,
            KubernetesAccess::Pod => {
                let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
                let host = variable("KUBERNETES_SERVICE_HOST");
                let port = variable("KUBERNETES_SERVICE_PORT");
                of_pod(host.zip(port), Path::new(SERVICE_ACCOUNT)).await
            }
        }
    }
}

async fn of_kubeconfig(file: &Path, context: Option<&str>) -> Result<KubernetesApi, String> {
    let (path, wanted) = (file.to_path_buf(), context.map(str::to_owned));
    let read = tokio::task::spawn_blocking(move || kubeconfig::read(&path, wanted.as_deref())).await;
    let found = read.map_err(|error| error.to_string())?.map_err(|problem| problem.shown(file))?;
    let base = found.server.parse::<BaseUrl>().map_err(|why| format!("{}: server: {why}", file.display()))?;
    let authorization = match &found.token {
        Some(BearerToken::Text(text)) => {
            Some(bearer(text).map_err(|why| format!("token of {}: {why}", file.display()))?)
        }
        Some(BearerToken::File(file)) => {
            Some(secret_value("Bearer ", file).await.map_err(|why| format!("tokenFile: {why}"))?)
        }
        None => None,
    };
    let namespace = found.namespace.unwrap_or_else(|| USUAL_NAMESPACE.to_owned());
    Ok(KubernetesApi { base, tls: found.tls, authorization, namespace })
}

/// `api`: the host and the port of the API, from the environment. `account`: the directory of the service account.
async fn of_pod(api: Option<(String, String)>, account: &Path) -> Result<KubernetesApi, String> {
    let Some((host, port)) = api else {
        return Err("this server is in no pod of Kubernetes (KUBERNETES_SERVICE_HOST is not set): write `kubeconfig` \
                    or `address`"
            .to_owned());
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let base = format!("https://{host}:{port}").parse::<BaseUrl>();
    let base = base.map_err(|why| format!("KUBERNETES_SERVICE_HOST: {why}"))?;
    let hint = "give the pod a service account, with automountServiceAccountToken";
    let token = secret_value("Bearer ", &account.join("token")).await.map_err(|why| format!("{why}: {hint}"))?;
    let namespace = secret_text(&account.join("namespace")).await.map_err(|why| format!("{why}: {hint}"))?;
    let tls = SourceTls { ca: Some(Pem::in_dir(account, "ca.crt")), ..SourceTls::default() };
    Ok(KubernetesApi { base, tls, authorization: Some(token), namespace: namespace.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_has_the_access_of_its_service_account() {
        let dir = tempfile::tempdir().unwrap();
        let api = || Some(("10.96.0.1".to_owned(), "443".to_owned()));
        let why = of_pod(None, dir.path()).await.unwrap_err();
        assert!(why.contains("write `kubeconfig` or `address`"), "{why}");
        let why = of_pod(api(), dir.path()).await.unwrap_err();
        assert!(why.contains("token can't be read") && why.contains("automountServiceAccountToken"), "{why}");
        std::fs::write(dir.path().join("token"), "t0ken\n").unwrap();
        std::fs::write(dir.path().join("namespace"), "shop").unwrap();
        let access = of_pod(api(), dir.path()).await.unwrap();
        assert_eq!((access.base.to_string().as_str(), &*access.namespace), ("https://10.96.0.1:443", "shop"));
        assert_eq!(access.authorization.unwrap(), "Bearer t0ken");
        assert_eq!(access.tls.ca, Some(Pem::File(dir.path().join("ca.crt"))));
        let access = of_pod(Some(("fd00::1".to_owned(), "6443".to_owned())), dir.path()).await.unwrap();
        assert_eq!(access.base.to_string(), "https://[fd00::1]:6443");
    }
}
