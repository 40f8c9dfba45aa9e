//! What can be had where.

use crate::ask::Ask;
use crate::client::Arm;
use crate::model::sku::ResourceSku;
use crate::{Deadline, Error};

impl Arm {
    /// Every SKU of a region, such as `eastus2`.
    pub async fn skus(
        &self,
        subscription: &str,
        location: &str,
        deadline: Deadline,
    ) -> Result<Vec<ResourceSku>, Error> {
        let path = format!("/subscriptions/{subscription}/providers/Microsoft.Compute/skus");
        let filter: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("api-version", "2021-07-01")
            .append_pair("$filter", &format!("location eq '{location}'"))
            .finish()
            // A plus sign is a space in forms only.
            .replace('+', "%20");
        self.read_all(&Ask::list("list SKUs", &path, &filter, deadline)).await
    }
}
